import type { Addr16 } from "#datapath/gen/structs.ts";
import { addressFromBytes, addressToBytes, type IpAddress } from "#types/addr.ts";

export type { Addr16 } from "#datapath/gen/structs.ts";

/** 16 bytes as the datapath's address type. */
export function addr16(bytes: Uint8Array): Addr16 {
  return { bytes };
}

const ZERO = new Uint8Array(16);

/** No address: what the pod has of a family that it does not have. */
export function addr16OrZero(address: IpAddress | undefined): Addr16 {
  return addr16(address === undefined ? ZERO : addressToBytes(address));
}

/** Equal addresses, equal texts. */
export function addr16Text({ bytes }: Addr16): IpAddress {
  return addressFromBytes(bytes);
}
