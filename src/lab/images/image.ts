import type { Container } from "kubernetes-types/core/v1.js";

/** How an image runs here: by programs of this checkout and tools of this machine. */
export interface Image {
  readonly entrypoint: readonly string[];
  readonly args: readonly string[];
  readonly directory: string;
  /** Directory searched before the usual ones. */
  readonly path?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Variables that follow from the container, such as the ports it declares. */
  environmentFor?(container: Container): Readonly<Record<string, string>>;
}
