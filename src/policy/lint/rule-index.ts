import type { NumericIdentity } from "#types/identity.ts";
import { type Prefix, prefixOf, prefixParts } from "#types/prefix.ts";
import { levelOf, type PeerSelector, type PortSpec, type Rule } from "../rule.ts";
import type { World } from "../world/world.ts";
import { kept } from "./once.ts";
import { everyPort, keysAroundPort, keysOfPort } from "./port-keys.ts";
import { identitiesOf } from "./subjects.ts";

/** A rule with its peers found and its ports in one list; null is every port. */
export type Entry = { readonly rule: Rule; readonly peers: readonly PeerSelector[]; readonly specs: readonly PortSpec[] | null };

/** Whether a selector takes every address outside the cluster. */
export function isWorld({ requirements, except }: PeerSelector): boolean {
  const [only, second] = requirements;
  return only?.source === "reserved" && only.key === "world" && second === undefined && except.length === 0;
}

/** The rules of one direction of a pod by their peers and ports, so that only few have to be compared with each. */
export class RuleIndex {
  readonly entries: readonly Entry[];
  /** One of the rules of each level and action, which are what decides whether a rule beats another. */
  readonly ranks: readonly Rule[];
  readonly #world: World;
  /** By the peer's text, then by port. */
  readonly #places = new Map<string, Map<string, Set<number>>>();
  /** The selectors that take much: everybody, and the world. */
  readonly #wide = new Map<string, PeerSelector>();
  readonly #byLabels = new Map<string, ReadonlySet<NumericIdentity>>();
  readonly #byBlock = new Map<Prefix, Set<string>>();
  readonly #widths = new Set<number>();
  readonly #takers = new Map<NumericIdentity, readonly string[]>();

  constructor(rules: readonly Rule[], world: World) {
    this.#world = world;
    this.entries = rules.map((rule) => ({ rule, peers: world.repo.peersOf(rule), specs: rule.ports?.flatMap((one) => one.ports) ?? null }));
    this.ranks = [...new Map(rules.map((rule) => [`${levelOf(rule)} ${rule.action}`, rule])).values()];
    for (const [position, { peers, specs }] of this.entries.entries()) {
      const keys = new Set(specs === null ? [everyPort] : specs.flatMap(keysOfPort));
      for (const peer of peers) {
        this.#addPeer(peer);
        const byPort = this.#places.get(peer.text) ?? new Map<string, Set<number>>();
        this.#places.set(peer.text, byPort);
        for (const key of keys) byPort.set(key, (byPort.get(key) ?? new Set()).add(position));
      }
    }
  }

  #addPeer(peer: PeerSelector): void {
    if (peer.any || isWorld(peer)) this.#wide.set(peer.text, peer);
    if (peer.within === undefined) {
      this.#byLabels.set(peer.text, identitiesOf(peer, this.#world));
      return;
    }
    this.#byBlock.set(peer.within, (this.#byBlock.get(peer.within) ?? new Set()).add(peer.text));
    this.#widths.add(prefixParts(peer.within).bits);
  }

  /** The rules that may cover all that one does, in their order: those that are stand among them. */
  around({ peers, specs }: Entry): readonly Entry[] {
    const [peer] = peers;
    const spec = specs?.[0];
    if (peer === undefined || (specs !== null && spec === undefined)) return [];
    const keys = spec === undefined ? [everyPort] : keysAroundPort(spec);
    const found = new Set<number>();
    for (const text of new Set([peer.text, ...this.#wide.keys(), ...this.#textsAround(peer)])) {
      const byPort = this.#places.get(text);
      for (const key of keys) for (const position of byPort?.get(key) ?? []) found.add(position);
    }
    return [...found].sort((a, b) => a - b).flatMap((position) => this.entries[position] ?? []);
  }

  #textsAround(peer: PeerSelector): readonly string[] {
    if (peer.any || peer.fqdn !== undefined) return [];
    if (peer.within === undefined) return this.#takersOf(peer);
    const { address, bits } = prefixParts(peer.within);
    return [...this.#widths].filter((one) => one <= bits).flatMap((one) => [...(this.#byBlock.get(prefixOf(address, one)) ?? [])]);
  }

  /** The selectors that take some identity that this one takes: only they may take all of them. */
  #takersOf(peer: PeerSelector): readonly string[] {
    const [id] = identitiesOf(peer, this.#world);
    if (id === undefined) return [];
    return kept(this.#takers, id, () => [...this.#byLabels].filter(([, ids]) => ids.has(id)).map(([text]) => text));
  }
}
