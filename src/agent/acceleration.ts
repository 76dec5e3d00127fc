import type { Logger } from "#runtime/logger.ts";
import type { LbSettings } from "./lb-settings.ts";

/** Where a program at the driver runs: in the driver itself, or in the kernel's hook for those that have none. */
export type DriverMode = "native" | "generic";

export interface AccelerationDeps {
  readonly log: Logger;
  readonly device: { readonly name: string; readonly isVeth: boolean };
  /** Puts the program there, or takes it away; throws when the driver cannot. */
  readonly put: (mode: DriverMode | undefined) => void;
}

const LOST_ON_VETH = "a veth's peer loses what a program at the driver sends, unless the peer has such a program itself, or GRO";

/**
 * The program at the driver, as `bpf-lb-acceleration` asks for it. Best effort goes without where the driver cannot: TC does the same, later.
 * Throws what `put` throws when native mode was asked for and cannot be had.
 */
export function accelerate({ log, device, put }: AccelerationDeps, wanted: LbSettings["acceleration"]): void {
  if (wanted === "disabled" || wanted === "testing-only") {
    put(wanted === "disabled" ? undefined : "generic");
    return;
  }
  const mayGoWithout = wanted === "best-effort";
  if (device.isVeth && !mayGoWithout)
    log.warn(LOST_ON_VETH, { device: device.name, flag: "--bpf-lb-acceleration", instead: "testing-only" });
  try {
    if (device.isVeth && mayGoWithout) throw new Error(LOST_ON_VETH);
    put("native");
  } catch (thrown) {
    if (!mayGoWithout) throw thrown;
    log.warn("the device's driver takes no program: services are translated after it", { device: device.name, error: String(thrown) });
    put(undefined);
  }
}
