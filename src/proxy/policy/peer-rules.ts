import type { PeerRule } from "../protocol.ts";
import { type PeerPolicy, selectPeer } from "./decide.ts";

/** What a connection may turn out to speak. */
export type Protocol = "http" | "kafka" | "tls";

/** The rules of one port, as they are for one peer. */
export interface PeerRules {
  readonly identity: number;
  /** Those for this peer. */
  readonly mine: readonly PeerRule[];
  /** What its connections are read as. */
  readonly protocols: ReadonlySet<Protocol>;
  /** What they would be without audit mode, when that is something else. */
  readonly audited?: PeerRules;
  /** For HTTP in the clear. */
  readonly http: PeerPolicy;
  /** For HTTP inside TLS that the proxy ends, judged by these of the rules. */
  inside(rules: readonly PeerRule[]): PeerPolicy;
}

const EVERYTHING: PeerRule = { identities: null, http: null, origins: [] };

/** The rules for a peer of a port where audit mode reports what `audited` would deny; without `rules` everything passes there. */
export function auditedPeerRules(rules: readonly PeerRule[] | undefined, audited: readonly PeerRule[], identity: number): PeerRules {
  const inForce = peerRules(rules ?? [EVERYTHING], identity);
  const would = peerRules(audited, identity);
  return { ...inForce, protocols: inForce.protocols.size > 0 ? inForce.protocols : would.protocols, audited: would };
}

/** Selects the rules for a peer. A peer whose own rules leave it open is read as the others of the port are. */
export function peerRules(rules: readonly PeerRule[], identity: number): PeerRules {
  const mine = rules.filter((rule) => rule.identities === null || rule.identities.includes(identity));
  const others = rules.filter((rule) => !mine.includes(rule));
  const own = protocolsOf(mine);
  const http = selectPeer(
    mine.filter((rule) => isFor(rule, "http") && !isSecured(rule)),
    others,
    identity,
  );
  let inner: { readonly rules: readonly PeerRule[]; readonly policy: PeerPolicy } | undefined;
  return {
    identity,
    mine,
    protocols: own.size > 0 ? own : protocolsOf(rules),
    http,
    inside(chosen) {
      if (inner === undefined || inner.rules.length !== chosen.length || inner.rules.some((rule, i) => rule !== chosen[i])) {
        const inside = chosen.filter((rule) => isFor(rule, "http"));
        inner = { rules: chosen, policy: selectPeer(inside, others, identity) };
      }
      return inner.policy;
    },
  };
}

/** What the rule is about; undefined when it says nothing but who may connect. */
export function parserOf({ parser, http, kafka }: PeerRule): Protocol | undefined {
  if (parser !== undefined) return parser;
  return http !== null ? "http" : kafka !== undefined && kafka !== null ? "kafka" : undefined;
}

function isFor(rule: PeerRule, protocol: Protocol): boolean {
  const parser = parserOf(rule);
  return parser === undefined || parser === protocol;
}

/** The rule is about what is inside TLS. */
export function isSecured({ serverNames, terminatingTls }: PeerRule): boolean {
  return terminatingTls !== undefined || (serverNames !== undefined && serverNames !== null);
}

function protocolsOf(rules: readonly PeerRule[]): ReadonlySet<Protocol> {
  const found = new Set<Protocol>();
  for (const rule of rules) {
    const parser = isSecured(rule) ? "tls" : parserOf(rule);
    if (parser !== undefined) found.add(parser);
  }
  return found;
}
