import type { Logger } from "#runtime/logger.ts";
import type { KubeObject } from "../object.ts";
import type { Registry } from "../resources/registry.ts";
import type { Resource } from "../resources/resource.ts";
import type { Store } from "../store/store.ts";

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

/** What the author of an object that is about to be stored should be told, beyond what the server itself refuses. Must not throw. */
export type Review = (object: KubeObject) => readonly string[];

/** Kubernetes' own limit for the warnings of one answer is 4 KiB; a reader's is lower. */
const WARNINGS_MAX = 10;

/** Has a complete object looked at, and its author warned. */
export function reviewFor(core: Core, resource: Resource, object: KubeObject, { warn, subresource }: WriteOptions): void {
  if (warn === undefined || subresource !== undefined || core.review === undefined) return;
  const texts = core.review({ ...object, apiVersion: resource.storageApiVersion, kind: resource.kind });
  for (const text of texts.slice(0, WARNINGS_MAX)) warn(text);
  if (texts.length > WARNINGS_MAX) warn(`… and ${texts.length - WARNINGS_MAX} more`);
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
