/** Which way traffic goes, seen from the endpoint. */
export type Direction = "ingress" | "egress";

/** Both directions, in the order in which they are printed. */
export const directions: readonly Direction[] = ["ingress", "egress"];

/** The number of a direction in maps and events: ingress 0, egress 1. */
export function directionNumber(direction: Direction): 0 | 1 {
  return direction === "egress" ? 1 : 0;
}
