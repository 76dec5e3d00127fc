import { LbServiceFlags } from "#datapath/gen/enums.ts";
import * as gen from "#datapath/gen/structs.ts";
import { u8, u32 } from "#ebpf/codec.ts";
import { closeBpf } from "#sys/bpf.ts";
import { addressToBytes, type IpAddress } from "#types/addr.ts";
import { createMap, TestMap } from "./kernel.ts";

export interface End {
  readonly ip: IpAddress;
  readonly port: number;
}

/** A service in the words of the tests. */
export interface ServiceSpec extends End {
  readonly protocol: number;
  readonly backends: readonly End[];
  /** In the slots behind `backends`. */
  readonly quarantined?: readonly End[];
  /** What slot 0 counts, when it is not `backends`: the agent has not come to it yet. */
  readonly count?: number;
  /** Names of `LbServiceFlags`; `ROUTABLE` and the like. */
  readonly flags?: readonly (keyof typeof LbServiceFlags)[];
  readonly scope?: number;
  readonly affinitySeconds?: number;
  /** Backends by the place in the table; their number is the table's size. */
  readonly maglev?: readonly End[];
  readonly sourceRanges?: readonly (readonly [IpAddress, number])[];
}

const ARRAY = 2;
const INNER_MAP = 4096;
const PIECE_ENTRIES = 1024;

const address = (text: IpAddress): gen.Addr16 => ({ bytes: addressToBytes(text) });

/** The service maps of one node, written as the agent would. Numbers are given by name and never taken back. */
export class ServiceMaps implements Disposable {
  readonly services: TestMap<gen.LbServiceKey, gen.LbService>;
  readonly backends: TestMap<number, gen.LbBackend>;
  readonly reverseNat: TestMap<number, gen.LbReverseNat>;
  readonly ranges: TestMap<gen.LbSourceRangeKey, number>;
  readonly affinity: TestMap<gen.LbAffinityKey, gen.LbAffinity>;
  readonly affinityMatch: TestMap<gen.LbAffinityMatchKey, number>;
  readonly ct: TestMap<gen.LbCtKey, gen.LbCtEntry>;
  readonly nat: TestMap<gen.NatKey, gen.NatEntry>;
  readonly node: TestMap<number, gen.LbNode>;
  readonly #skip: TestMap<gen.LbSkipKey, number>;
  readonly #maglev: TestMap<number, number>;
  readonly #numbers = new Map<string, number>();
  readonly #inner: number[] = [];

  /** Descriptors of a loaded object's maps by name; they stay the caller's. */
  constructor(fds: Readonly<Record<string, number>>) {
    const fd = (name: string): number => fds[name] ?? -1;
    this.services = new TestMap(fd("cilium_lb_services"), gen.lbServiceKey, gen.lbService);
    this.backends = new TestMap(fd("cilium_lb_backends"), u32, gen.lbBackend);
    this.reverseNat = new TestMap(fd("cilium_lb_reverse_nat"), u32, gen.lbReverseNat);
    this.ranges = new TestMap(fd("cilium_lb_source_range"), gen.lbSourceRangeKey, u8);
    this.affinity = new TestMap(fd("cilium_lb_affinity"), gen.lbAffinityKey, gen.lbAffinity);
    this.affinityMatch = new TestMap(fd("cilium_lb_affinity_match"), gen.lbAffinityMatchKey, u8);
    this.ct = new TestMap(fd("cilium_lb_ct"), gen.lbCtKey, gen.lbCtEntry);
    this.nat = new TestMap(fd("cilium_snat"), gen.natKey, gen.natEntry);
    this.node = new TestMap(fd("cilium_lb_node"), u32, gen.lbNode);
    this.#skip = new TestMap(fd("cilium_skip_lb"), gen.lbSkipKey, u8);
    this.#maglev = new TestMap(fd("cilium_lb_maglev"), u32, u32);
  }

  #number(name: string): number {
    const known = this.#numbers.get(name) ?? this.#numbers.size + 1;
    this.#numbers.set(name, known);
    return known;
  }

  backendId({ ip, port }: End, protocol: number): number {
    return this.#number(`backend ${ip} ${port} ${protocol}`);
  }

  serviceId({ ip, port }: End, protocol: number): number {
    return this.#number(`service ${ip} ${port} ${protocol}`);
  }

  /** This node's addresses for translations. */
  setNode(node: { readonly ipv4: IpAddress; readonly ipv6: IpAddress; readonly netnsCookie?: bigint }): void {
    this.node.set(0, {
      ipv4: address(node.ipv4),
      ipv6: address(node.ipv6),
      loopbackIpv4: address("169.254.42.1" as IpAddress),
      loopbackIpv6: address("fd00:169:254:42::1" as IpAddress),
      netnsCookie: node.netnsCookie ?? 0n,
    });
  }

  /** Writes a service, or changes it to this. */
  set(spec: ServiceSpec): void {
    const { protocol } = spec;
    const id = this.serviceId(spec, protocol);
    const key = (slot: number): gen.LbServiceKey => ({
      address: address(spec.ip),
      port: spec.port,
      slot,
      protocol,
      scope: spec.scope ?? 0,
    });
    const empty = { backendId: 0, serviceId: 0, affinityTimeout: 0, maglevSize: 0, count: 0, quarantined: 0, flags: 0 };
    for (const [i, end] of [...spec.backends, ...(spec.quarantined ?? [])].entries()) {
      const backendId = this.backendId(end, protocol);
      this.backends.set(backendId, { address: address(end.ip), port: end.port, protocol, state: 0 });
      this.services.set(key(i + 1), { ...empty, backendId, flags: i < spec.backends.length ? 0 : LbServiceFlags.QUARANTINED });
    }
    if (spec.affinitySeconds) this.#setMembers(id, spec);
    if (spec.maglev) this.#setMaglev(id, spec.maglev, protocol);
    for (const [prefix, length] of spec.sourceRanges ?? [])
      this.ranges.set({ prefixlen: 32 + length + (prefix.includes(":") ? 0 : 96), serviceId: id, address: address(prefix) }, 1);
    this.reverseNat.set(id, { address: address(spec.ip), port: spec.port });
    const flags = (spec.flags ?? []).reduce((sum, name) => sum | LbServiceFlags[name], 0);
    this.services.set(key(0), {
      ...empty,
      serviceId: id,
      affinityTimeout: spec.affinitySeconds ?? 0,
      maglevSize: spec.maglev?.length ?? 0,
      count: spec.count ?? spec.backends.length,
      flags: flags | (spec.affinitySeconds ? LbServiceFlags.AFFINITY : 0) | (spec.maglev ? LbServiceFlags.MAGLEV : 0),
    });
  }

  #setMembers(serviceId: number, { backends, protocol }: ServiceSpec): void {
    for (const match of this.affinityMatch.keys()) if (match.serviceId === serviceId) this.affinityMatch.delete(match);
    for (const end of backends) this.affinityMatch.set({ serviceId, backendId: this.backendId(end, protocol) }, 1);
  }

  #setMaglev(serviceId: number, table: readonly End[], protocol: number): void {
    const pieces = Math.ceil(table.length / PIECE_ENTRIES);
    const inner = createMap(ARRAY, 4, gen.lbMaglevPiece.size, pieces, INNER_MAP);
    this.#inner.push(inner);
    const map = new TestMap(inner, u32, gen.lbMaglevPiece);
    for (let piece = 0; piece < pieces; piece++) {
      const ids = new Uint32Array(PIECE_ENTRIES);
      for (let i = 0; i < PIECE_ENTRIES; i++) {
        const end = table[piece * PIECE_ENTRIES + i];
        if (end) ids[i] = this.backendId(end, protocol);
      }
      map.set(piece, { bytes: new Uint8Array(ids.buffer) });
    }
    this.#maglev.set(serviceId, inner);
  }

  /** A pod of that namespace reaches the address itself. */
  skip(cookie: bigint, { ip, port }: End, protocol: number): void {
    this.#skip.set({ netnsCookie: cookie, address: address(ip), port, protocol, ifindex: 0 }, 1);
  }

  /** A backend is gone: nobody keeps it. */
  forget(end: End, protocol: number): void {
    this.backends.delete(this.backendId(end, protocol));
  }

  /** Forgets what packets have left behind, and all services. */
  clear(): void {
    for (const map of [this.services, this.backends, this.reverseNat, this.ranges, this.affinity, this.affinityMatch, this.ct, this.nat])
      map.clear();
  }

  [Symbol.dispose](): void {
    for (const fd of this.#inner) closeBpf(fd);
  }
}
