// The cluster's DNS: what CoreDNS with its usual Corefile does, from Services and EndpointSlices of the API server.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { openCluster } from "#k8s/client.ts";
import { loadClusterConfig } from "#k8s/config.ts";
import { startReflector } from "#k8s/reflector.ts";
import { ENDPOINT_SLICES, SERVICES } from "#k8s/resources.ts";
import { createLogger } from "#runtime/logger.ts";
import { runProgram } from "#runtime/program.ts";
import { aborted } from "#runtime/scope.ts";
import { createForward } from "./forward.ts";
import { startDnsServer } from "./server.ts";
import { createZone, type DnsService, type DnsSlice } from "./zone.ts";

const DOMAIN = "cluster.local";

interface Named {
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

// Hands the whole collection on at each change, once a turn of the event loop.
function collect<T extends Named>(set: (objects: Iterable<T>) => void) {
  const objects = new Map<string, T>();
  let due = false;
  const key = ({ metadata }: Named) => `${metadata.namespace}/${metadata.name}`;
  const changed = () => {
    if (due) return;
    due = true;
    setImmediate(() => {
      due = false;
      set(objects.values());
    });
  };
  return {
    replace(list: readonly Named[]) {
      objects.clear();
      for (const object of list) objects.set(key(object), object as T);
      changed();
    },
    upsert(object: Named) {
      objects.set(key(object), object as T);
      changed();
    },
    remove(object: Named) {
      objects.delete(key(object));
      changed();
    },
  };
}

function nameservers(): string[] {
  return [...readFileSync("/etc/resolv.conf", "utf8").matchAll(/^nameserver\s+(\S+)/gm)].map(([, address = ""]) => address);
}

function serveHealth(ready: () => boolean): void {
  createServer((_, response) => response.end("OK")).listen(8080, "::");
  createServer((_, response) => response.writeHead(ready() ? 200 : 503).end(ready() ? "OK" : "kubernetes\n")).listen(8181, "::");
}

runProgram("coredns", async (signal) => {
  const log = createLogger("coredns");
  let synced = false;
  serveHealth(() => synced);
  await using scope = new AsyncDisposableStack();
  const cluster = scope.use(openCluster(await loadClusterConfig()));
  const zone = createZone(DOMAIN);
  scope.use(await startDnsServer({ zone, domain: DOMAIN, port: 53, forward: createForward(nameservers()) }));
  const services = scope.use(
    startReflector(
      { cluster, log },
      SERVICES,
      {},
      collect<DnsService>((list) => zone.setServices(list)),
    ),
  );
  const slices = scope.use(
    startReflector(
      { cluster, log },
      ENDPOINT_SLICES,
      {},
      collect<DnsSlice>((list) => zone.setSlices(list)),
    ),
  );
  await Promise.all([services.synced, slices.synced]);
  synced = true;
  log.info("serving", { domain: DOMAIN });
  await aborted(signal);
});
