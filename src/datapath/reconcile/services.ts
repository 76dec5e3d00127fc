import type { LbAffinityMatchKey, LbBackend, LbReverseNat, LbService, LbServiceKey, LbSourceRangeKey } from "#datapath/gen/structs.ts";
import type { BpfMap } from "#ebpf/bpf.ts";
import { allBackends, type Backend, type Frontend, type L4Address, parseL4Address } from "#loadbalancer/types.ts";
import type { BatchTarget } from "#reconciler/reconciler.ts";
import { createNumbers } from "../numbers.ts";
import type { MaglevTables } from "./maglev.ts";
import { backendEntry, entryAddress, type ServiceEntries, type ServiceSettings, serviceEntries, serviceKey } from "./service-entries.ts";

export interface ServiceKernel {
  readonly services: BpfMap<LbServiceKey, LbService>;
  readonly backends: BpfMap<number, LbBackend>;
  readonly reverseNat: BpfMap<number, LbReverseNat>;
  readonly sourceRanges: BpfMap<LbSourceRangeKey, number>;
  readonly affinityMatch: BpfMap<LbAffinityMatchKey, number>;
}

/** What a frontend may have in the maps, from before it is written until it is known to be gone. */
interface Realized {
  backends: readonly string[];
  /** Slot 0 and those behind it. */
  slots: SlotCounts;
  /** By their text. */
  ranges: ReadonlyMap<string, LbSourceRangeKey>;
  affinity: ReadonlyMap<string, LbAffinityMatchKey>;
}

const NOTHING: ReadonlyMap<string, never> = new Map<string, never>();

interface Plan {
  readonly frontend: Frontend;
  readonly serviceId: number;
  readonly realized: Realized;
  /** The texts of its backends. */
  readonly backends: readonly string[];
  readonly entries: ServiceEntries;
  readonly slots: SlotCounts;
}

/** Entries of each scope. */
type SlotCounts = readonly [external: number, internal: number];

/** The service maps as a target of the frontends. */
export interface ServiceMaps extends BatchTarget<Frontend> {
  /** The frontend's number in the kernel, while it is there. */
  idOf(frontend: Frontend): number | undefined;
  update(frontend: Frontend): void;
  updateMany(frontends: readonly Frontend[]): void;
  remove(frontend: Frontend): void;
  prune(frontends: Iterable<Frontend>): Promise<void>;
}

/**
 * Frontends in the service maps. What a reader finds is always whole: backends are written before slots name them and slots before
 * slot 0 counts them. Numbers are taken over from the maps at start, so that a restart changes nothing for living connections.
 */
export function createServiceTarget(kernel: ServiceKernel, maglev: MaglevTables, settings: ServiceSettings): ServiceMaps {
  return new ServiceTarget(kernel, maglev, settings);
}

class ServiceTarget implements ServiceMaps {
  readonly #kernel: ServiceKernel;
  readonly #maglev: MaglevTables;
  readonly #settings: ServiceSettings;
  readonly #backendIds = createNumbers(1, 0xffff_ffff);
  readonly #serviceIds = createNumbers(1, 0xffff_ffff);
  readonly #realized = new Map<string, Realized>();

  constructor(kernel: ServiceKernel, maglev: MaglevTables, settings: ServiceSettings) {
    this.#kernel = kernel;
    this.#maglev = maglev;
    this.#settings = settings;
    this.#restore();
  }

  idOf(frontend: Frontend): number | undefined {
    return this.#serviceIds.get(frontend.address.text);
  }

  update(frontend: Frontend): void {
    this.updateMany([frontend]);
  }

  updateMany(frontends: readonly Frontend[]): void {
    const { services, backends, reverseNat, sourceRanges, affinityMatch } = this.#kernel;
    const plans = frontends.map((frontend) => this.#plan(frontend));
    const all = new Map<number, LbBackend>();
    for (const frontend of frontends) for (const backend of allBackends(frontend)) all.set(this.#backendId(backend), backendEntry(backend));
    backends.setMany(all);
    services.setMany(plans.flatMap(({ entries }) => entries.slots));
    reverseNat.setMany(plans.map(({ serviceId, entries }) => [serviceId, entries.reverseNat] as const));
    const idOf = (backend: Backend) => this.#backendId(backend);
    this.#maglev.write(plans.flatMap(({ serviceId, entries: { maglev } }) => (maglev ? [{ serviceId, backends: maglev, idOf }] : [])));
    for (const { entries } of plans) for (const key of entries.ranges) sourceRanges.set(key, 1);
    affinityMatch.setMany(plans.flatMap(({ entries }) => entries.affinity.map((key) => [key, 1] as const)));
    // The scope for those inside is there before the other one says so; a batch keeps its order.
    services.setMany(plans.flatMap(({ entries }) => entries.heads));
    for (const plan of plans) this.#tidy(plan);
  }

  remove(frontend: Frontend): void {
    this.#removeNamed(frontend.address.text);
  }

  async prune(frontends: Iterable<Frontend>): Promise<void> {
    const keep = new Set([...frontends].map(({ address }) => address.text));
    for (const name of [...this.#realized.keys()]) if (!keep.has(name)) this.#removeNamed(name);
    this.#freeBackends(this.#backendIds.unused());
    const { services, backends, reverseNat, sourceRanges, affinityMatch } = this.#kernel;
    const ranges = new Set([...this.#realized.values()].flatMap((realized) => [...realized.ranges.keys()]));
    const affinity = new Set([...this.#realized.values()].flatMap((realized) => [...realized.affinity.keys()]));
    await sweep(services, (key) => !this.#hasSlot(key));
    await sweep(backends, (id) => !this.#backendIds.has(id));
    await sweep(reverseNat, (id) => !this.#serviceIds.has(id));
    await sweep(sourceRanges, (key) => !ranges.has(rangeText(key)));
    await sweep(affinityMatch, (key) => !affinity.has(affinityText(key)));
    this.#maglev.prune();
  }

  #hasSlot(key: LbServiceKey): boolean {
    const realized = this.#realized.get(entryAddress(key).text);
    return realized !== undefined && key.slot < (realized.slots[key.scope] ?? 0);
  }

  #backendId(backend: Backend): number {
    return this.#backendIds.get(backend.address.text) ?? 0;
  }

  /** Numbers for all that the frontend needs, noted before anything is written: what fails half-way is cleaned up all the same. */
  #plan(frontend: Frontend): Plan {
    const name = frontend.address.text;
    const realized = this.#realized.get(name) ?? nothingRealized();
    const serviceId = this.#serviceIds.get(name) ?? this.#serviceIds.acquire(name);
    this.#realized.set(name, realized);
    const backends = distinct(allBackends(frontend).map(({ address }) => address.text));
    const more = without(backends, realized.backends);
    for (const backend of more) this.#backendIds.acquire(backend);
    if (more.length > 0) realized.backends = [...realized.backends, ...more];
    const entries = serviceEntries(frontend, serviceId, (backend) => this.#backendId(backend), this.#settings);
    const slots = slotsOf(entries);
    realized.slots = [Math.max(realized.slots[0], slots[0]), Math.max(realized.slots[1], slots[1])];
    realized.ranges = union(realized.ranges, entries.ranges, rangeText);
    realized.affinity = union(realized.affinity, entries.affinity, affinityText);
    return { frontend, serviceId, realized, backends, entries, slots };
  }

  /** Deletes what the frontend had and has no more. */
  #tidy({ frontend, serviceId, realized, backends, entries, slots }: Plan): void {
    const { sourceRanges, affinityMatch } = this.#kernel;
    for (const scope of [0, 1] as const) this.#deleteSlots(frontend.address, scope, slots[scope], realized.slots[scope]);
    realized.slots = slots;
    const ranges = union(NOTHING, entries.ranges, rangeText);
    if (realized.ranges.size > 0) for (const key of missing(realized.ranges, ranges)) sourceRanges.delete(key);
    realized.ranges = ranges;
    const affinity = union(NOTHING, entries.affinity, affinityText);
    if (realized.affinity.size > 0) affinityMatch.deleteMany(missing(realized.affinity, affinity));
    realized.affinity = affinity;
    if (entries.maglev === undefined) this.#maglev.remove(serviceId);
    if (realized.backends.length > backends.length) this.#letGo(realized, without(realized.backends, backends));
  }

  #deleteSlots(address: L4Address, scope: number, from: number, to: number): void {
    if (from >= to) return;
    const slots = Array.from({ length: to - from }, (_, i) => from + i);
    this.#kernel.services.deleteMany(slots.map((slot) => serviceKey(address, scope, slot)));
  }

  #removeNamed(name: string): void {
    const realized = this.#realized.get(name);
    const serviceId = this.#serviceIds.get(name);
    if (realized === undefined || serviceId === undefined) return;
    const { reverseNat, sourceRanges, affinityMatch } = this.#kernel;
    const address = parseL4Address(name);
    // Slot 0 goes first, and the external one, which points at the other, before that.
    for (const scope of [0, 1] as const) this.#deleteSlots(address, scope, 0, realized.slots[scope]);
    this.#maglev.remove(serviceId);
    reverseNat.delete(serviceId);
    for (const key of realized.ranges.values()) sourceRanges.delete(key);
    affinityMatch.deleteMany(realized.affinity.values());
    this.#letGo(realized, realized.backends);
    this.#realized.delete(name);
    this.#serviceIds.release(name);
    this.#serviceIds.free(name);
  }

  /** A backend's last user deletes it; what fails is still the frontend's and is tried again. */
  #letGo(realized: Realized, names: readonly string[]): void {
    const last = names.filter((name) => this.#backendIds.users(name) === 1);
    if (last.length > 0) this.#kernel.backends.deleteMany(last.flatMap((name) => this.#backendIds.get(name) ?? []));
    realized.backends = without(realized.backends, names);
    for (const name of names) this.#backendIds.release(name);
    for (const name of last) this.#backendIds.free(name);
  }

  #freeBackends(names: readonly string[]): void {
    if (names.length === 0) return;
    this.#kernel.backends.deleteMany(names.flatMap((name) => this.#backendIds.get(name) ?? []));
    for (const name of names) this.#backendIds.free(name);
  }

  /** What is in the maps already. Of two entries that say they are the same thing the first counts, the other one is pruned. */
  #restore(): void {
    const backendNames = new Map<number, string>();
    for (const [id, backend] of this.#kernel.backends.entries()) {
      const name = entryAddress(backend).text;
      if (this.#backendIds.restore(id, name)) backendNames.set(id, name);
    }
    const behind = this.#restoreSlots(backendNames);
    for (const [name, realized] of this.#realized) {
      this.#serviceIds.acquire(name);
      realized.backends = distinct(behind.get(name) ?? []);
      for (const backend of realized.backends) this.#backendIds.acquire(backend);
    }
  }

  /** Answers which of the backends each frontend's slots name. */
  #restoreSlots(backendNames: ReadonlyMap<number, string>): ReadonlyMap<string, readonly string[]> {
    const behind = new Map<string, string[]>();
    for (const [key, { serviceId, backendId }] of this.#kernel.services.entries()) {
      const name = entryAddress(key).text;
      const realized = this.#realized.get(name) ?? nothingRealized();
      this.#realized.set(name, realized);
      const slots: [number, number] = [...realized.slots];
      slots[key.scope === 1 ? 1 : 0] = Math.max(slots[key.scope === 1 ? 1 : 0], key.slot + 1);
      realized.slots = slots;
      if (key.slot === 0) this.#serviceIds.restore(serviceId, name);
      const backend = key.slot > 0 ? backendNames.get(backendId) : undefined;
      if (backend === undefined) continue;
      const names = behind.get(name) ?? [];
      behind.set(name, names);
      names.push(backend);
    }
    return behind;
  }
}

function nothingRealized(): Realized {
  return { backends: [], slots: [0, 0], ranges: NOTHING, affinity: NOTHING };
}

function distinct(names: readonly string[]): readonly string[] {
  return names.length <= 1 ? names : [...new Set(names)];
}

function without(names: readonly string[], unwanted: readonly string[]): readonly string[] {
  if (names.length === 0 || unwanted.length === 0) return names;
  const left = new Set(unwanted);
  return names.filter((name) => !left.has(name));
}

function slotsOf({ slots, heads }: ServiceEntries): SlotCounts {
  let internal = 0;
  for (const [key] of slots) internal += key.scope;
  for (const [key] of heads) internal += key.scope;
  return [slots.length + heads.length - internal, internal];
}

/** Deletes the entries whose key is doomed, others' work in between. */
async function sweep<K>(map: BpfMap<K, unknown>, isDoomed: (key: K) => boolean): Promise<void> {
  const doomed: K[] = [];
  let seen = 0;
  for (const key of map.keys()) {
    if (isDoomed(key)) doomed.push(key);
    if (++seen % SWEPT_AT_ONCE === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  map.deleteMany(doomed);
}

const SWEPT_AT_ONCE = 2048;

function union<V>(had: ReadonlyMap<string, V>, more: readonly V[], text: (value: V) => string): ReadonlyMap<string, V> {
  return more.length === 0 ? had : new Map([...had, ...more.map((value) => [text(value), value] as const)]);
}

/** Values whose key is not in `present`. */
function missing<V>(had: ReadonlyMap<string, V>, present: ReadonlyMap<string, unknown>): V[] {
  return [...had].filter(([key]) => !present.has(key)).map(([, value]) => value);
}

function rangeText({ prefixlen, serviceId, address }: LbSourceRangeKey): string {
  return `${serviceId} ${prefixlen} ${Buffer.from(address.bytes).toString("hex")}`;
}

function affinityText({ serviceId, backendId }: LbAffinityMatchKey): string {
  return `${serviceId} ${backendId}`;
}
