import type { Netns } from "#sys/netns.ts";

/** The network configuration of one namespace. Changes throw `NetlinkError`. */
export interface Netlink extends Disposable {
  /** A veth pair, the peer made directly in its namespace. EEXIST when a link of either name is there. */
  createVeth(veth: VethRequest): VethPair;
  /** In order, one round trip. What is there already, or gone already, is success. Changes before a failed one stay, those after it are tried too. */
  apply(changes: readonly Change[]): void;
  /** False when there was none. Off the main thread: removing a veth takes the kernel 16-30 ms. */
  deleteLink(link: number | string): Promise<boolean>;

  links(): Link[];
  link(link: number | string): Link | undefined;
  addresses(): Address[];
  /** Of all tables. */
  routes(): Route[];
  neighbours(): Neighbour[];
  rules(): Rule[];
  close(): void;
}

export interface VethRequest {
  readonly name: string;
  readonly mtu?: number | undefined;
  readonly mac?: string | undefined;
  readonly up?: boolean | undefined;
  readonly peer: {
    readonly name: string;
    readonly netns?: Netns | undefined;
    readonly mac?: string | undefined;
    readonly mtu?: number | undefined;
  };
}

export interface VethPair {
  readonly index: number;
  readonly mac: string;
  /** In the peer's namespace. */
  readonly peerIndex: number;
}

export interface Link {
  readonly index: number;
  readonly name: string;
  /** "veth", "bridge", …; "" for hardware and loopback. */
  readonly kind: string;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  /** The other end of a veth, in its namespace; 0 when there is none. */
  readonly peerIndex: number;
  /** The bridge it is in; 0 when in none. */
  readonly master: number;
}

export interface Address {
  readonly index: number;
  /** "10.0.0.1/24" */
  readonly address: string;
}

export interface Route {
  /** A prefix; a default route is "0.0.0.0/0" or "::/0". */
  readonly to: string;
  readonly via: string | undefined;
  readonly index: number | undefined;
  readonly source: string | undefined;
  readonly table: number;
  readonly type: RouteType;
  readonly scope: RouteScope;
}

export interface Neighbour {
  readonly index: number;
  readonly address: string;
  readonly mac: string;
  readonly permanent: boolean;
}

export interface Rule {
  readonly family: 4 | 6;
  readonly priority: number;
  readonly mark: number | undefined;
  readonly mask: number | undefined;
  readonly table: number;
}

export type RouteType = "unicast" | "local" | "blackhole" | "unreachable" | "other";
export type RouteScope = "universe" | "link" | "host" | "other";

export interface LinkChange {
  readonly set: "link";
  /** One of both. */
  readonly index?: number | undefined;
  readonly name?: string | undefined;
  readonly up?: boolean | undefined;
  readonly mtu?: number | undefined;
  readonly mac?: string | undefined;
  readonly rename?: string | undefined;
  /** Index of a bridge; 0 takes it out. */
  readonly master?: number | undefined;
}

export interface AddressChange {
  readonly set: "address" | "no-address";
  readonly index: number;
  readonly address: string;
}

/** Setting replaces the route to the same prefix in the same table. */
export interface RouteChange {
  readonly set: "route" | "no-route";
  /** A prefix, an address, or "default" (IPv4, unless `via` is IPv6). */
  readonly to: string;
  readonly via?: string | undefined;
  readonly index?: number | undefined;
  readonly source?: string | undefined;
  /** 254, the main table, when absent. */
  readonly table?: number | undefined;
  /** When absent: "link" without a gateway, "host" for local, else "universe". */
  readonly scope?: "universe" | "link" | "host" | undefined;
  readonly type?: "local" | "blackhole" | "unreachable" | undefined;
  readonly mtu?: number | undefined;
  /** The gateway is reachable through `index` although no route says so. */
  readonly onlink?: boolean | undefined;
}

/** A permanent entry; setting replaces. */
export interface NeighbourChange {
  readonly set: "neighbour" | "no-neighbour";
  readonly index: number;
  readonly address: string;
  readonly mac?: string | undefined;
}

export interface RuleChange {
  readonly set: "rule" | "no-rule";
  readonly family: 4 | 6;
  readonly priority: number;
  readonly mark?: number | undefined;
  readonly mask?: number | undefined;
  readonly table: number;
}

export type Change = LinkChange | AddressChange | RouteChange | NeighbourChange | RuleChange;
