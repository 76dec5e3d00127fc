import type { Brand } from "./brand.ts";

/** A security identity: the unsigned 32-bit number that stands for a set of labels. */
export type NumericIdentity = Brand<number, "NumericIdentity">;

/** Makes an identity of a number from 0 to 2^32-1; throws RangeError otherwise. */
export function NumericIdentity(value: number): NumericIdentity {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff)
    throw new RangeError(`identity ${value} is not an unsigned 32-bit number`);
  return value as NumericIdentity;
}

/** The identities whose numbers are fixed (interfaces: same numbers in every cluster). */
export const reservedIdentity = {
  unknown: 0 as NumericIdentity,
  host: 1 as NumericIdentity,
  world: 2 as NumericIdentity,
  unmanaged: 3 as NumericIdentity,
  health: 4 as NumericIdentity,
  init: 5 as NumericIdentity,
  remoteNode: 6 as NumericIdentity,
  kubeApiserver: 7 as NumericIdentity,
  ingress: 8 as NumericIdentity,
  worldIpv4: 9 as NumericIdentity,
  worldIpv6: 10 as NumericIdentity,
} as const;

/** First and last number that the cluster allocates to label sets. */
export const clusterIdentityRange = { first: 256, last: 65535 } as const;

/** First number of the node-local identities of addresses outside (CIDR, FQDN). */
export const localCidrIdentityFirst = 0x01000001;

/** First number of the node-local identities of remote nodes. */
export const remoteNodeIdentityFirst = 0x02000000;

/** Where a number is valid: everywhere, on this node for outside addresses, or on this node for remote nodes. */
export type IdentityScope = "global" | "local-cidr" | "remote-node";

/** The scope of an identity: its top byte. */
export function identityScope(id: NumericIdentity): IdentityScope {
  const top = id >>> 24;
  if (top === 1) return "local-cidr";
  return top === 2 ? "remote-node" : "global";
}

/** Whether the number belongs to the fixed ones (below 256). */
export function isReservedIdentity(id: NumericIdentity): boolean {
  return id < clusterIdentityRange.first;
}
