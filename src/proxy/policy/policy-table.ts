import type { Peer } from "../peer.ts";
import type { PeerRule, PolicyMessage, PortPolicy, ProxyDirection } from "../protocol.ts";
import { type Audited, auditedPeerRules, type PeerRules, peerRules } from "./peer-rules.ts";

/** The rules of one port of one endpoint. */
export interface PortRules {
  /** What they mean for a peer, by all of its identities; compiled at the first use. */
  peer(peer: Peer): PeerRules;
}

export interface EndpointRules {
  readonly id: number;
  readonly identity: number;
  /** The rules of a port, or undefined when it is not redirected. */
  ingress(port: number): PortRules | undefined;
  egress(port: number): PortRules | undefined;
}

/** The policy in force. Before the first one everything is denied. */
export interface PolicyTable {
  readonly revision: number | null;
  /** Another number after each `replace`. */
  readonly generation: number;
  readonly endpoints: number;
  /** Ports of endpoints that are redirected. */
  readonly redirects: number;
  replace(policy: PolicyMessage): void;
  /** The endpoint with this address (canonical text). */
  endpoint(ip: string): EndpointRules | undefined;
}

/** An empty table. Replacing keeps what is compiled for rules that stay the same, and replicas share it. */
export function createPolicyTable(): PolicyTable {
  let byIp = new Map<string, EndpointRules>();
  let shared = new Map<string, PortLookup>();
  let revision: number | null = null;
  let generation = 0;
  let endpoints = 0;
  let redirects = 0;
  return {
    get revision() {
      return revision;
    },
    get generation() {
      return generation;
    },
    get endpoints() {
      return endpoints;
    },
    get redirects() {
      return redirects;
    },
    endpoint: (ip) => byIp.get(ip),
    replace(policy) {
      const nextByIp = new Map<string, EndpointRules>();
      const nextShared = new Map<string, PortLookup>();
      const lookup = (ports: readonly PortPolicy[], audited: readonly PortPolicy[] = []) => {
        const key = JSON.stringify([ports, audited]);
        const found = nextShared.get(key) ?? shared.get(key) ?? portLookup(ports, audited);
        nextShared.set(key, found);
        return found;
      };
      for (const { id, identity, ips, ingress, egress, audit } of policy.endpoints) {
        const rules = { id, identity, ingress: lookup(ingress, audit?.ingress), egress: lookup(egress, audit?.egress) };
        for (const ip of ips) nextByIp.set(ip, rules);
      }
      [byIp, shared, revision] = [nextByIp, nextShared, policy.revision];
      generation++;
      endpoints = policy.endpoints.length;
      redirects = policy.endpoints.reduce((sum, { ingress, egress }) => sum + ingress.length + egress.length, 0);
    },
  };
}

type PortLookup = (port: number) => PortRules | undefined;

/** Several entries can cover one port (a range and a port in it): their rules add up. */
function portLookup(ports: readonly PortPolicy[], audited: readonly PortPolicy[]): PortLookup {
  const known = new Map<number, PortRules | undefined>();
  return (port) => {
    if (known.has(port)) return known.get(port);
    const rulesAt = (all: readonly PortPolicy[]) => {
      const covering = all.filter((entry) => covers(entry, port));
      return covering.length === 0 ? undefined : covering.flatMap((entry) => entry.rules);
    };
    const [rules, would] = [rulesAt(ports), rulesAt(audited)];
    const isOpen = ports.every((entry) => entry.audited === true || !covers(entry, port));
    const made = rules === undefined && would === undefined ? undefined : portRules(rules, would && { rules: would, isOpen });
    known.set(port, made);
    return made;
  };
}

function covers(entry: PortPolicy, port: number): boolean {
  return entry.port <= port && port <= (entry.endPort ?? entry.port);
}

/** Peers remembered for each port; more (scans from many addresses) start over. */
const MAX_PEERS = 4096;

function portRules(rules: readonly PeerRule[] | undefined, audited: Audited | undefined): PortRules {
  const peers = new Map<number | string, PeerRules>();
  return {
    peer(peer) {
      const key = peer.length === 1 ? peer[0] : peer.join();
      let found = peers.get(key);
      if (found === undefined) {
        found = audited === undefined ? peerRules(rules ?? [], peer) : auditedPeerRules(rules, audited, peer);
        if (peers.size >= MAX_PEERS) peers.clear();
        peers.set(key, found);
      }
      return found;
    },
  };
}

/** The rules for a connection: of the server's endpoint on ingress, of the client's on egress; undefined when it is not redirected. */
export function rulesOfConnection(
  table: PolicyTable,
  direction: ProxyDirection,
  client: string,
  server: string,
  port: number,
): { readonly endpoint: EndpointRules; readonly rules: PortRules } | undefined {
  const endpoint = table.endpoint(direction === "ingress" ? server : client);
  const rules = endpoint?.[direction](port);
  return endpoint === undefined || rules === undefined ? undefined : { endpoint, rules };
}
