import { randomBytes } from "node:crypto";

/** Flows that share a random part, and are told apart by their number: randomness for each costs more than all else in its id. */
const PER_SEED = 0x1_0000_0000;

let seed = "";
let next = PER_SEED;

/** A new id in the form of a random (version 4) UUID (RFC 9562). */
export function nextUuid(): string {
  if (next === PER_SEED) {
    const hex = randomBytes(12).toString("hex");
    seed = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 24)}`;
    next = 0;
  }
  return seed + (PER_SEED + next++).toString(16).slice(1);
}
