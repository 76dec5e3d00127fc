import { performance } from "node:perf_hooks";
import type { Logger } from "#runtime/logger.ts";
import { IpAddress } from "#types/addr.ts";
import { identityScope, NumericIdentity, reservedIdentity } from "#types/identity.ts";
import type { GrantMap } from "./dns/grants.ts";
import type { IdentityLookup } from "./kernel/identities.ts";
import type { Redirected } from "./kernel/transport.ts";

/** Identities by which rules may be about the other end of a connection: its own, then those of the names it is known by. */
export type Peer = readonly [own: number, ...named: number[]];

/**
 * Identities that stand for the names by which an endpoint knows an address: those that are good, as they are beyond their time while a connection may live, or were so
 * many seconds ago. Throws as `GrantMap` does.
 */
export type LearnedNames = (endpointId: number, ip: string, secondsAgo: number) => readonly number[];

/** `now`: seconds of the kernel's monotonic clock. */
export function createLearnedNames(grants: Pick<GrantMap, "get" | "usedAt">, now: () => number): LearnedNames {
  return (endpointId, ip, secondsAgo) => {
    const address = IpAddress(ip);
    const known = grants.get(endpointId, address);
    const good = known.filter(({ expires }) => expires > now() - secondsAgo);
    const isInUse = good.length < known.length && grants.usedAt(endpointId, address) > 0;
    return (isInUse ? known : good).map(({ identity }) => identity);
  };
}

export interface PeerDeps {
  readonly log: Logger;
  readonly identities: IdentityLookup;
  /** Absent where nobody may reach anything by name. */
  readonly learned?: LearnedNames | undefined;
}

/** A name that expired so many seconds ago was still good when the kernel let the connection, or the datagram, through: it may have waited to be read. */
export const JUST_EXPIRED = 5;
const ASK_AGAIN_MS = 1000;

/**
 * Follows who the other end of one connection is. Names by which it began stay, as in the kernel: a connection outlives the time of its name. Names that are
 * learned later are added. Gives undefined when the maps cannot be read: then nothing is allowed.
 */
export function followPeer({ direction, client, server }: Redirected, deps: PeerDeps): (endpointId: number) => Peer | undefined {
  const ip = direction === "ingress" ? client.ip : server.ip;
  let peer: Peer | undefined;
  let askedAt = -Infinity;
  const isFresh = (own: number) => peer?.[0] === own && performance.now() - askedAt < ASK_AGAIN_MS;
  const learn = (own: number, endpointId: number): Peer => {
    const [, ...before] = peer ?? [];
    const found = deps.learned?.(endpointId, ip, peer === undefined ? JUST_EXPIRED : 0) ?? [];
    askedAt = performance.now();
    return [own, ...new Set([...before, ...found])];
  };
  return (endpointId) => {
    try {
      const own = deps.identities.identityOf(ip);
      if (direction === "egress" && isOutside(own)) {
        if (!isFresh(own)) peer = learn(own, endpointId);
      } else if (peer?.[0] !== own) peer = [own];
      return peer;
    } catch (thrown) {
      deps.log.error("cannot read identities, connection denied", { error: (thrown as Error).message });
      return undefined;
    }
  };
}

/** Names lead outside only, as `identity_is_outside` of the datapath says. */
export function isOutside(identity: number): boolean {
  const { world, worldIpv4, worldIpv6 } = reservedIdentity;
  return (
    identity === world || identity === worldIpv4 || identity === worldIpv6 || identityScope(NumericIdentity(identity)) === "local-cidr"
  );
}
