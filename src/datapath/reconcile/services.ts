import type { LbAffinityMatchKey, LbBackend, LbService, LbServiceKey } from "#datapath/gen/structs.ts";
import type { BpfMap } from "#ebpf/bpf.ts";
import { backendsFor } from "#loadbalancer/select.ts";
import { type Frontend, formatL4Address, type L4Address } from "#loadbalancer/types.ts";
import type { SyncTarget } from "#reconciler/reconciler.ts";
import { addressToBytes, IpAddress } from "#types/addr.ts";
import { parseProtocol } from "#types/proto.ts";
import { addr16, addr16Text } from "../addr16.ts";

export interface ServiceKernel {
  readonly services: BpfMap<LbServiceKey, LbService>;
  readonly backends: BpfMap<number, LbBackend>;
  readonly affinityMatch: BpfMap<LbAffinityMatchKey, number>;
}

const AFFINITY = 1;

/**
 * Frontends in the service maps. Backends are written before slots name them and slots before slot 0 counts them; numbers
 * are taken over from the maps at start, so that a restart changes nothing for living connections.
 */
export function createServiceTarget(kernel: ServiceKernel, config: { readonly nodeName: string }): SyncTarget<Frontend> {
  const backendIds = createNumbers(1, 0xffff_ffff);
  const serviceIds = createNumbers(1, 0xffff);
  const realized = new Map<string, { readonly slots: number; readonly backends: readonly string[] }>();
  restore(kernel, backendIds, serviceIds, realized);

  const write = (frontend: Frontend) => {
    const name = formatL4Address(frontend.address);
    const old = realized.get(name) ?? { slots: 0, backends: [] };
    const chosen = backendsFor(frontend, config.nodeName).map(({ address }) => address);
    const names = chosen.map(formatL4Address);
    const ids = chosen.map((address, position) => {
      const id = backendIds.acquire(names[position] ?? "");
      kernel.backends.set(id, {
        address: addr16(addressToBytes(IpAddress(address.ip))),
        port: address.port,
        protocol: protocolOf(address),
        state: 0,
      });
      return id;
    });
    const serviceId = serviceIds.get(name) ?? serviceIds.acquire(name);
    const slot = (number: number): LbServiceKey => keyOf(frontend.address, number);
    const affinityTimeout = frontend.affinitySeconds ?? 0;
    const empty = { affinityTimeout: 0, maglevSize: 0, count: 0, quarantined: 0, serviceId, flags: 0 };
    if (affinityTimeout > 0) for (const backendId of ids) kernel.affinityMatch.set({ serviceId, backendId }, 1);
    // Slots that a smaller count hides go after the count, new ones come before it.
    for (const [position, backendId] of ids.entries()) kernel.services.set(slot(position + 1), { ...empty, backendId });
    kernel.services.set(slot(0), {
      ...empty,
      backendId: 0,
      affinityTimeout,
      count: ids.length,
      flags: affinityTimeout > 0 ? AFFINITY : 0,
    });
    for (let number = ids.length + 1; number <= old.slots; number++) kernel.services.delete(slot(number));
    realized.set(name, { slots: ids.length, backends: names });
    releaseBackends(old.backends);
  };
  const releaseBackends = (names: readonly string[]) => {
    for (const name of names) {
      const gone = backendIds.release(name);
      if (gone !== undefined) kernel.backends.delete(gone);
    }
  };
  const remove = (address: L4Address) => {
    const name = formatL4Address(address);
    const old = realized.get(name);
    for (let number = 0; number <= (old?.slots ?? 0); number++) kernel.services.delete(keyOf(address, number));
    realized.delete(name);
    serviceIds.release(name);
    releaseBackends(old?.backends ?? []);
  };
  return {
    update(frontend) {
      if (isTranslated(frontend)) write(frontend);
      else if (realized.has(formatL4Address(frontend.address))) remove(frontend.address);
    },
    remove: (frontend) => remove(frontend.address),
    prune(frontends) {
      const keep = new Set([...frontends].filter(isTranslated).map(({ address }) => formatL4Address(address)));
      for (const key of [...kernel.services.keys()]) {
        const address = addressOf(key);
        if (!keep.has(formatL4Address(address))) {
          remove(address);
          kernel.services.delete(key);
        }
      }
      for (const id of [...kernel.backends.keys()]) if (!backendIds.has(id)) kernel.backends.delete(id);
    },
  };
}

/** Socket hooks translate addresses that are the service's own; node ports have none. */
function isTranslated({ address }: Frontend): boolean {
  return address.ip !== "0.0.0.0" && address.ip !== "::" && address.ip !== "";
}

function protocolOf({ protocol }: L4Address): number {
  return parseProtocol(protocol) ?? 0;
}

function keyOf(address: L4Address, slot: number): LbServiceKey {
  return { address: addr16(addressToBytes(IpAddress(address.ip))), port: address.port, slot, protocol: protocolOf(address), scope: 0 };
}

function addressOf({ address, port, protocol }: { address: { bytes: Uint8Array }; port: number; protocol: number }): L4Address {
  return { ip: addr16Text(address), port, protocol: protocol === 17 ? "UDP" : protocol === 132 ? "SCTP" : "TCP" };
}

function restore(
  kernel: ServiceKernel,
  backendIds: Numbers,
  serviceIds: Numbers,
  realized: Map<string, { readonly slots: number; readonly backends: readonly string[] }>,
): void {
  const names = new Map([...kernel.backends.entries()].map(([id, backend]) => [id, formatL4Address(addressOf(backend))]));
  const slots = [...kernel.services.entries()];
  for (const [key, { serviceId, count }] of slots) {
    if (key.slot !== 0) continue;
    const name = formatL4Address(addressOf(key));
    serviceIds.restore(serviceId, name);
    realized.set(name, { slots: count, backends: [] });
  }
  const held = new Map<string, string[]>();
  for (const [key, { backendId }] of slots) {
    const backend = names.get(backendId);
    if (key.slot === 0 || backend === undefined) continue;
    const name = formatL4Address(addressOf(key));
    backendIds.restore(backendId, backend);
    held.set(name, [...(held.get(name) ?? []), backend]);
  }
  for (const [name, backends] of held) realized.set(name, { slots: realized.get(name)?.slots ?? backends.length, backends });
}

interface Numbers {
  get(name: string): number | undefined;
  has(id: number): boolean;
  acquire(name: string): number;
  /** The number when nobody uses it any more. */
  release(name: string): number | undefined;
  restore(id: number, name: string): void;
}

/** Small numbers for names, counted by use. Throws when all are taken. */
function createNumbers(first: number, last: number): Numbers {
  const byName = new Map<string, { readonly id: number; users: number }>();
  const taken = new Set<number>();
  let next = first;
  const free = () => {
    for (let tried = first; tried <= last; tried++) {
      const id = next;
      next = next === last ? first : next + 1;
      if (!taken.has(id)) return id;
    }
    throw new Error(`all numbers up to ${last} are taken`);
  };
  const use = (name: string, id: number | undefined) => {
    const item = byName.get(name) ?? { id: id ?? free(), users: 0 };
    item.users += 1;
    byName.set(name, item);
    taken.add(item.id);
    return item.id;
  };
  return {
    get: (name) => byName.get(name)?.id,
    has: (id) => taken.has(id),
    acquire: (name) => use(name, undefined),
    restore: (id, name) => void use(name, id),
    release(name) {
      const item = byName.get(name);
      if (!item) return undefined;
      item.users -= 1;
      if (item.users > 0) return undefined;
      byName.delete(name);
      taken.delete(item.id);
      return item.id;
    },
  };
}
