import type { Brand } from "./brand.ts";

/** A TCP, UDP or SCTP port, 0 to 65535; 0 means any where a rule is meant. */
export type Port = Brand<number, "Port">;

/** Makes a port; throws RangeError outside 0 to 65535. */
export function Port(value: number): Port {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff) throw new RangeError(`port ${value} is not from 0 to 65535`);
  return value as Port;
}
