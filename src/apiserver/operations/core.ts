import type { Logger } from "#runtime/logger.ts";
import type { Registry } from "../resources/registry.ts";
import type { Store } from "../store/store.ts";
import type { Review } from "./opinion.ts";

/** What every operation works on. */
export interface Core {
  readonly store: Store;
  readonly registry: Registry;
  readonly log: Logger;
  readonly now: () => Date;
  readonly settings: Settings;
  /** Absent: nobody looks. */
  readonly review?: Review | undefined;
}

export interface Settings {
  /** IPv4 range of services; the first address is the API server's own service. */
  readonly serviceCidr: string;
  readonly serviceCidrV6: string | undefined;
  /** First and last port given to NodePort services. */
  readonly nodePorts: readonly [number, number];
}

export type FieldValidation = "Strict" | "Warn" | "Ignore";

/** What may accompany any write. */
export interface WriteOptions {
  /** Go through everything but store nothing. */
  readonly dryRun?: boolean;
  readonly fieldManager?: string;
  readonly fieldValidation?: FieldValidation;
  /** Receives warnings for the client. */
  readonly warn?: (message: string) => void;
  readonly subresource?: string;
}

export interface DeleteOptions extends WriteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: "Background" | "Foreground" | "Orphan";
  readonly uid?: string;
  readonly resourceVersion?: string;
}
