import type { Peer } from "../peer.ts";
import type { PeerRule } from "../protocol.ts";
import { type PeerPolicy, selectPeer } from "./decide.ts";

/** What a connection may turn out to speak. */
export type Protocol = "http" | "kafka" | "tls";

/** The rules of one port, as they are for one peer. */
export interface PeerRules {
  /** The one of its identities that records show: of a name that rules are about, else its own. */
  readonly identity: number;
  /** Those for this peer. */
  readonly mine: readonly PeerRule[];
  /** What its connections are read as. */
  readonly protocols: ReadonlySet<Protocol>;
  /** What they would be without audit mode, when that is something else. */
  readonly audited?: PeerRules;
  /** No rule in force says what is spoken, or changes it: what cannot be read passes as it is. */
  readonly onlyAudited: boolean;
  /** For HTTP in the clear. */
  readonly http: PeerPolicy;
  /** For HTTP inside TLS that the proxy ends, judged by these of the rules. */
  inside(rules: readonly PeerRule[]): PeerPolicy;
}

const EVERYTHING: PeerRule = { identities: null, http: null, origins: [] };

/** What audit mode would have in force on a port. */
export interface Audited {
  readonly rules: readonly PeerRule[];
  /** Nothing of the port's is enforced, though there are rules in force that allow everything. */
  readonly isOpen: boolean;
}

/** The rules for a peer of a port where audit mode reports what `audited` would deny; without `rules` everything passes there. */
export function auditedPeerRules(rules: readonly PeerRule[] | undefined, audited: Audited, peer: Peer): PeerRules {
  const inForce = peerRules(rules ?? [EVERYTHING], peer);
  const would = peerRules(audited.rules, peer);
  const onlyAudited = inForce.protocols.size === 0 || (audited.isOpen && !changesBytes(inForce));
  return { ...inForce, protocols: inForce.protocols.size > 0 ? inForce.protocols : would.protocols, audited: would, onlyAudited };
}

/** Who relies on a header that is set, or on TLS that begins or ends here, relies on it in audit mode, too. */
function changesBytes({ mine, http }: PeerRules): boolean {
  const changes = http.rules.some(({ compiled }) => compiled.actions.some(({ mismatch }) => mismatch !== "LOG"));
  return changes || mine.some(({ terminatingTls, originatingTls }) => terminatingTls !== undefined || originatingTls !== undefined);
}

/** Selects the rules for a peer: those for any of its identities. A peer whose own rules leave it open is read as the others of the port are. */
export function peerRules(rules: readonly PeerRule[], [own, ...named]: Peer): PeerRules {
  const names = (id: number) => rules.some(({ identities }) => identities?.includes(id));
  const identity = named.find(names) ?? own;
  const mine = rules.filter(({ identities }) => identities === null || [own, ...named].some((id) => identities.includes(id)));
  const others = rules.filter((rule) => !mine.includes(rule));
  const spoken = protocolsOf(mine);
  const http = selectPeer(
    mine.filter((rule) => isFor(rule, "http") && !isSecured(rule)),
    others,
    identity,
  );
  let inner: { readonly rules: readonly PeerRule[]; readonly policy: PeerPolicy } | undefined;
  return {
    identity,
    mine,
    protocols: spoken.size > 0 ? spoken : protocolsOf(rules),
    onlyAudited: false,
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
