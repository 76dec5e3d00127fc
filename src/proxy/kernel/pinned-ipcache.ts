import { join } from "node:path";
import { maps } from "#datapath/gen/maps.ts";
import type { Bpf } from "#ebpf/bpf.ts";
import { createIpcacheLookup, type IdentityLookup } from "./identities.ts";

/**
 * Looks identities up in the maps that the datapath uses, by their pins under `<bpfRoot>/tc/globals`. They are opened at the first use, since
 * the proxy may start before the agent has made them, and again at `refresh`, since a newer agent may have replaced them.
 */
export function createPinnedIpcache(bpf: Pick<Bpf, "openMap">, bpfRoot: string): IdentityLookup & Disposable {
  const directory = join(bpfRoot, "tc", "globals");
  let opened: ReturnType<typeof open> | undefined;
  const open = () => {
    using guard = new DisposableStack();
    const exact = bpf.openMap(maps.ciliumIpcache, join(directory, maps.ciliumIpcache.name));
    guard.defer(() => exact.close());
    const prefixes = bpf.openMap(maps.ciliumIpcacheLpm, join(directory, maps.ciliumIpcacheLpm.name));
    guard.defer(() => prefixes.close());
    return { lookup: createIpcacheLookup(exact, prefixes), handles: guard.move() };
  };
  return {
    identityOf(ip) {
      opened ??= open();
      return opened.lookup.identityOf(ip);
    },
    refresh() {
      const next = open();
      opened?.handles.dispose();
      opened = next;
    },
    [Symbol.dispose]: () => opened?.handles.dispose(),
  };
}
