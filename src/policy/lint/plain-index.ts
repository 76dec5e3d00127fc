import type { Requirement } from "#labels/selector.ts";
import { type Prefix, prefixOf, prefixParts } from "#types/prefix.ts";
import type { PeerSelector, PortRule, PortSpec, Rule } from "../rule.ts";
import { everyPort, keysAroundPort, keysOfPort } from "./port-keys.ts";

/** An entry of `toPorts` whose application rules narrow what it allows. */
export type Narrow = { readonly rule: Rule; readonly entry: PortRule };

/** What a rule allows without any application rules; `ports` null: everything. */
export type Plain = { readonly rule: Rule; readonly ports: readonly PortSpec[] | null };

/** Where a selector stands that takes everything. */
const everything = "";

/** What stands under a requirement's labels: what asks for one of its values, or for the key in any other way. */
function keysOf({ key, operator, values }: Requirement): string[] {
  return operator === "In" ? values.map((value) => `${key}=${value}`) : [key];
}

/** Where a requirement stands that this one implies: what takes all of its values takes the first. */
function keysAround({ key, operator, values: [value] }: Requirement): string[] {
  return operator === "In" && value !== undefined ? [key, `${key}=${value}`] : [key];
}

const blockKey = (block: Prefix) => `block ${block}`;

/** Positions of plain allows: by a label of whom they are for, then by one of whom they allow, then by port. */
type Places = Map<string, Map<string, Map<string, number[]>>>;

/**
 * The plain allows of many policies, so that only few have to be compared with each narrow rule. Each stands under the label of its selectors that
 * the fewest of them name: whatever it covers has that label too.
 */
export class PlainIndex {
  readonly #plain: readonly Plain[];
  readonly #places: Places = new Map();
  readonly #uses = new Map<string, number>();
  readonly #widths = new Set<number>();

  constructor(plain: readonly Plain[]) {
    this.#plain = plain;
    for (const { rule } of plain)
      for (const { requirements } of [rule.subject, ...rule.peers])
        for (const key of requirements.flatMap(keysOf)) this.#uses.set(key, (this.#uses.get(key) ?? 0) + 1);
    for (const [position, one] of plain.entries()) this.#add(position, one);
  }

  #add(position: number, { rule, ports }: Plain): void {
    const portKeys = [...new Set(ports === null ? [everyPort] : ports.flatMap(keysOfPort))];
    const peerKeys = [...new Set(rule.peers.flatMap((peer) => this.#keysOfPeer(peer)))];
    for (const subject of this.#rarest(rule.subject.requirements)) {
      const byPeer = within(this.#places, subject);
      for (const peer of peerKeys) {
        const byPort = within(byPeer, peer);
        for (const port of portKeys) {
          const positions = byPort.get(port);
          if (positions === undefined) byPort.set(port, [position]);
          else positions.push(position);
        }
      }
    }
  }

  #keysOfPeer({ any, within: block, requirements }: PeerSelector): readonly string[] {
    if (any) return [everything];
    if (block === undefined) return this.#rarest(requirements);
    this.#widths.add(prefixParts(block).bits);
    return [blockKey(block)];
  }

  #rarest(requirements: readonly Requirement[]): readonly string[] {
    const uses = (keys: readonly string[]) => keys.reduce((sum, key) => sum + (this.#uses.get(key) ?? 0), 0);
    const [first = [everything], ...more] = requirements.map(keysOf);
    return more.reduce((best, keys) => (uses(keys) < uses(best) ? keys : best), first);
  }

  /** The plain allows that may cover some of what a narrow rule allows, in their order: those that do are among them. */
  around({ rule, entry }: Narrow): readonly Plain[] {
    const peerKeys = new Set([everything, ...rule.peers.flatMap((peer) => this.#keysAroundPeer(peer))]);
    const portKeys = new Set(entry.ports.flatMap(keysAroundPort));
    const found = new Set<number>();
    for (const subject of new Set([everything, ...rule.subject.requirements.flatMap(keysAround)])) {
      const byPeer = this.#places.get(subject);
      if (byPeer === undefined) continue;
      for (const peer of peerKeys) {
        const byPort = byPeer.get(peer);
        if (byPort === undefined) continue;
        for (const port of portKeys) for (const position of byPort.get(port) ?? []) found.add(position);
      }
    }
    return [...found].sort((a, b) => a - b).flatMap((position) => this.#plain[position] ?? []);
  }

  #keysAroundPeer({ within: block, requirements }: PeerSelector): readonly string[] {
    // What stands for addresses or names outside is in the world, whatever else it asks for.
    const labels = [...requirements.flatMap(keysAround), "world"];
    if (block === undefined) return labels;
    const { address, bits } = prefixParts(block);
    return [...labels, ...[...this.#widths].filter((one) => one <= bits).map((one) => blockKey(prefixOf(address, one)))];
  }
}

function within<V>(map: Map<string, Map<string, V>>, key: string): Map<string, V> {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = new Map<string, V>();
  map.set(key, made);
  return made;
}
