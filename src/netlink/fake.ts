import { ERRNO } from "#sys/errno.ts";
import type { Netns } from "#sys/netns.ts";
import { alreadySo, MAIN_TABLE, prefixOf, routeDestination } from "./encode.ts";
import type {
  Address,
  Change,
  Link,
  LinkChange,
  Neighbour,
  Netlink,
  Route,
  RouteChange,
  Rule,
  RuleChange,
  VethPair,
  VethRequest,
} from "./netlink.ts";
import { describeChange, NetlinkError } from "./netlink-error.ts";

/** One namespace's configuration in memory. */
class FakeNamespace {
  links: Link[] = [{ index: 1, name: "lo", kind: "", mac: "00:00:00:00:00:00", mtu: 65536, up: false, peerIndex: 0, master: 0 }];
  addresses: Address[] = [];
  routes: Route[] = [];
  neighbours: Neighbour[] = [];
  rules: Rule[] = [];
  nextIndex = 2;
}

export interface FakeNetlinkOptions {
  /** Called before each change ("veth", "delete", or the change's `set`): an errno name makes it fail. */
  readonly fail?: (operation: string, change: Change | undefined) => string | undefined;
}

export interface FakeNetwork {
  /** A socket in the namespace; the own one when absent. Namespaces are told apart by `path`. */
  open(place?: { readonly netns?: Pick<Netns, "path"> }): Netlink;
}

/** Namespaces in memory, connected by their veths. */
export function createFakeNetwork(options: FakeNetlinkOptions = {}): FakeNetwork {
  const namespaces = new Map<string, FakeNamespace>();
  const at = (path: string) => {
    const found = namespaces.get(path) ?? new FakeNamespace();
    namespaces.set(path, found);
    return found;
  };
  return { open: ({ netns } = {}) => new FakeNetlink(netns?.path ?? "", at, options) };
}

/** A `Netlink` of an own namespace in memory. */
export function createFakeNetlink(options: FakeNetlinkOptions = {}): Netlink {
  return createFakeNetwork(options).open();
}

class FakeNetlink implements Netlink {
  readonly #here: FakeNamespace;
  readonly #at: (path: string) => FakeNamespace;
  readonly #path: string;
  readonly #fail: FakeNetlinkOptions["fail"];

  constructor(path: string, at: (path: string) => FakeNamespace, { fail }: FakeNetlinkOptions) {
    this.#path = path;
    this.#here = at(path);
    this.#at = at;
    this.#fail = fail;
  }

  createVeth({ name, mtu = 1500, mac, up = false, peer }: VethRequest): VethPair {
    const there = this.#at(peer.netns?.path ?? this.#path);
    this.#inject("veth", undefined, `veth ${name}`);
    if (this.link(name) || there.links.some((link) => link.name === peer.name)) throw new NetlinkError(`veth ${name}`, ERRNO.EEXIST, "");
    const base = { kind: "veth", up: false, master: 0 };
    const index = this.#here.nextIndex++;
    const peerIndex = there.nextIndex++;
    const own = { ...base, index, name, mac: mac ?? fakeMac(index, 1), mtu, up, peerIndex };
    this.#here.links.push(own);
    there.links.push({
      ...base,
      index: peerIndex,
      name: peer.name,
      mac: peer.mac ?? fakeMac(peerIndex, 2),
      mtu: peer.mtu ?? mtu,
      peerIndex: index,
    });
    return { index, mac: own.mac, peerIndex };
  }

  apply(changes: readonly Change[]): void {
    let first: unknown;
    for (const change of changes) {
      try {
        this.#inject(change.set, change, describeChange(change));
        this.#applyOne(change);
      } catch (error) {
        first ??= error;
      }
    }
    if (first !== undefined) throw first;
  }

  async deleteLink(link: number | string): Promise<boolean> {
    this.#inject("delete", undefined, `delete link ${link}`);
    const found = this.link(link);
    if (!found) return false;
    const { index } = found;
    this.#here.links = this.#here.links.filter((one) => one.index !== index);
    this.#forget(this.#here, index);
    return true;
  }

  links(): Link[] {
    return [...this.#here.links];
  }

  link(link: number | string): Link | undefined {
    return this.#here.links.find((one) => one.index === link || one.name === link);
  }

  addresses(): Address[] {
    return [...this.#here.addresses];
  }

  routes(): Route[] {
    return [...this.#here.routes];
  }

  neighbours(): Neighbour[] {
    return [...this.#here.neighbours];
  }

  rules(): Rule[] {
    return [...this.#here.rules];
  }

  close(): void {}

  [Symbol.dispose](): void {}

  #forget(here: FakeNamespace, index: number): void {
    here.addresses = here.addresses.filter((one) => one.index !== index);
    here.routes = here.routes.filter((one) => one.index !== index);
    here.neighbours = here.neighbours.filter((one) => one.index !== index);
  }

  #inject(operation: string, change: Change | undefined, about: string): void {
    const code = this.#fail?.(operation, change);
    if (code === undefined || (change && alreadySo(change).includes(code))) return;
    throw new NetlinkError(about, ERRNO[code as keyof typeof ERRNO], "injected", change);
  }

  #need(change: Change, index: number | undefined): void {
    if (index !== undefined && !this.link(index)) throw new NetlinkError(describeChange(change), ERRNO.ENODEV, "", change);
  }

  #applyOne(change: Change): void {
    const here = this.#here;
    switch (change.set) {
      case "link":
        this.#setLink(change);
        break;
      case "address":
        this.#need(change, change.index);
        here.addresses = [...without(here.addresses, (one) => same(one, addressOf(change))), addressOf(change)];
        break;
      case "no-address":
        here.addresses = without(here.addresses, (one) => same(one, addressOf(change)));
        break;
      case "route":
        this.#need(change, change.index);
        here.routes = [...without(here.routes, (one) => sameRoute(one, change)), routeOf(change)];
        break;
      case "no-route":
        here.routes = without(here.routes, (one) => sameRoute(one, change) && (change.via === undefined || one.via === change.via));
        break;
      case "neighbour":
        this.#need(change, change.index);
        here.neighbours = without(here.neighbours, (one) => one.index === change.index && one.address === change.address);
        here.neighbours.push({ index: change.index, address: change.address, mac: change.mac ?? "", permanent: true });
        break;
      case "no-neighbour":
        here.neighbours = without(here.neighbours, (one) => one.index === change.index && one.address === change.address);
        break;
      case "rule":
        here.rules = [...without(here.rules, (one) => same(one, ruleOf(change))), ruleOf(change)];
        break;
      case "no-rule":
        here.rules = without(here.rules, (one) => same(one, ruleOf(change)));
    }
  }

  #setLink(change: LinkChange): void {
    const found = this.link(change.index ?? change.name ?? "");
    if (!found) throw new NetlinkError(describeChange(change), ERRNO.ENODEV, "", change);
    const { up = found.up, mtu = found.mtu, mac = found.mac, rename = found.name, master = found.master } = change;
    this.#here.links = this.#here.links.map((link) => (link === found ? { ...link, up, mtu, mac, name: rename, master } : link));
    // As the kernel: what lies on a link goes when it goes down, permanent neighbours too.
    if (change.up === false) {
      this.#here.routes = without(this.#here.routes, (one) => one.index === found.index);
      this.#here.neighbours = without(this.#here.neighbours, (one) => one.index === found.index);
    }
  }
}

function addressOf({ index, address }: { readonly index: number; readonly address: string }): Address {
  return { index, address: fullPrefix(address) };
}

function fullPrefix(text: string): string {
  return text.includes("/") ? text : `${text}/${prefixOf(text).length}`;
}

function routeOf(change: RouteChange): Route {
  const scope =
    change.scope ?? (change.type === "local" ? "host" : change.via === undefined && change.type === undefined ? "link" : "universe");
  return {
    to: fullPrefix(routeDestination(change)),
    via: change.via,
    index: change.index,
    source: change.source,
    table: change.table ?? MAIN_TABLE,
    type: change.type ?? "unicast",
    scope,
  };
}

function sameRoute(route: Route, change: RouteChange): boolean {
  return route.to === fullPrefix(routeDestination(change)) && route.table === (change.table ?? MAIN_TABLE);
}

function ruleOf({ family, priority, mark, mask, table }: RuleChange): Rule {
  return { family, priority, mark, mask, table };
}

function same(a: object, b: object): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function without<T>(list: readonly T[], drop: (one: T) => boolean): T[] {
  return list.filter((one) => !drop(one));
}

function fakeMac(index: number, side: number): string {
  return `0a:00:00:0${side}:${(index >> 8).toString(16).padStart(2, "0")}:${(index & 0xff).toString(16).padStart(2, "0")}`;
}
