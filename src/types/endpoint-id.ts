import type { Brand } from "./brand.ts";

/** The node-local number of an endpoint, 1 to 65535. */
export type EndpointId = Brand<number, "EndpointId">;

/** Makes an endpoint number; throws RangeError outside 1 to 65535. */
export function EndpointId(value: number): EndpointId {
  if (!Number.isInteger(value) || value < 1 || value > 0xffff) throw new RangeError(`endpoint id ${value} is not from 1 to 65535`);
  return value as EndpointId;
}
