import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { Kernel } from "../../native/kernel.d.ts";

let loaded: Kernel | undefined;

/**
 * The addon, loaded at the first call: from `CILIA_KERNEL_NODE`, else `build/kernel.node` of this checkout.
 * Throws with the command that builds it when it is missing.
 */
export function kernel(): Kernel {
  loaded ??= load();
  return loaded;
}

function load(): Kernel {
  const path = process.env.CILIA_KERNEL_NODE ?? fileURLToPath(new URL("../../build/kernel.node", import.meta.url));
  try {
    return createRequire(import.meta.url)(path) as Kernel;
  } catch (cause) {
    throw new Error(`cannot load ${path}; build it with: make -C native`, { cause });
  }
}
