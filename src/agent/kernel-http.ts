import { HttpEventFlags, HttpServer } from "#datapath/gen/enums.ts";
import { type HttpEvent, httpEvent } from "#datapath/gen/structs.ts";
import type { HttpMaps } from "#datapath/loader.ts";
import { createHttpReconciler, type HttpPortRules, writeHttpAnswers } from "#datapath/reconcile/http.ts";
import type { Bpf } from "#ebpf/bpf.ts";
import type { Endpoint } from "#endpoint/endpoint.ts";
import { openSocketDiag } from "#netlink/sock-diag.ts";
import type { DnsAccessMessage } from "#proxy/dns/protocol.ts";
import { kernelAnswers } from "#proxy/http/kernel-answers.ts";
import type { DeniedReply } from "#proxy/http/local-reply.ts";
import { kernelRules } from "#proxy/policy/kernel-rules.ts";
import { createPolicyTable } from "#proxy/policy/policy-table.ts";
import type { AccessMessage, AccessRecord, PolicyMessage } from "#proxy/protocol.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Table } from "#statedb/table.ts";
import { isKernelError } from "#sys/kernel-error.ts";
import { openNetns } from "#sys/netns.ts";
import { addressFromBytes, addressToBytes, IpAddress } from "#types/addr.ts";
import { httpAccess } from "./http-access.ts";

type ProxyEndpoint = PolicyMessage["endpoints"][number];

/** HTTP that the kernel decides at servers' sockets; everything it cannot is the proxy's. */
export interface KernelHttp extends Disposable {
  /** The rules of all endpoints, as the proxy has them. */
  update(endpoints: readonly ProxyEndpoint[]): void;
  /** What the proxy has seen: clients that speak plain HTTP may do without it from their next connection on. */
  learn(record: AccessRecord | DnsAccessMessage): void;
}

export interface KernelHttpDeps {
  readonly bpf: Bpf;
  readonly maps: HttpMaps;
  readonly endpoints: Table<Endpoint>;
  readonly log: Logger;
  readonly denied: DeniedReply;
  /** Takes the records of requests. */
  readonly onAccess: (record: AccessMessage) => void;
}

/** How long what was taught is not taught again; the kernel forgets clients only when it has too many. */
const TEACH_AGAIN_MS = 60_000;
const MAX_TAUGHT = 10_000;

/** Starts to give the kernel its rules, and to read what it has decided. */
export function startKernelHttp({ bpf, maps, endpoints, log, denied, onAccess }: KernelHttpDeps): KernelHttp {
  const reconciler = createHttpReconciler(maps);
  const table = createPolicyTable();
  const taught = new Map<string, number>();
  writeHttpAnswers(maps.httpAnswers, kernelAnswers(denied));
  const ring = bpf.openRing(maps.httpEvents, (batch) => {
    for (const record of batch) {
      if (record.length < httpEvent.size) continue;
      const event = httpEvent.decode(record, 0);
      if (event.flags & HttpEventFlags.CUT) cut(event);
      onAccess(httpAccess(event, table));
    }
  });
  /** Its client waits for an answer that the kernel could not give. */
  const cut = (event: HttpEvent) => {
    const path = endpoints.get(event.lxcId as Endpoint["id"])?.interface.netns;
    if (path === undefined) return;
    const { client, server, clientPort, serverPort, sockCookie } = event;
    try {
      using netns = openNetns(path);
      using diag = openSocketDiag(netns);
      const [local, remote] = [addressFromBytes(server.bytes), addressFromBytes(client.bytes)];
      diag.destroyTcp({ local, localPort: serverPort, remote, remotePort: clientPort, cookie: sockCookie });
    } catch (thrown) {
      log.warn("a connection that the kernel could not decide was not ended; its client gets no answer", { error: errorMessage(thrown) });
    }
  };
  return {
    update(rows) {
      table.replace({ type: "policy", revision: (table.revision ?? 0) + 1, endpoints: rows });
      try {
        reconciler.update(rows.flatMap(portRules));
      } catch (thrown) {
        log.error("HTTP rules do not fit into the kernel: the proxy decides everything", { error: errorMessage(thrown) });
      }
    },
    learn(record) {
      if (record.type !== "access" || record.direction !== "ingress" || !isPlain(record)) return;
      const { destination, source } = record;
      const name = `${destination.ip} ${destination.port} ${source.identity}`;
      if ((taught.get(name) ?? Number.NEGATIVE_INFINITY) + TEACH_AGAIN_MS > performance.now()) return;
      if (taught.size >= MAX_TAUGHT) taught.clear();
      taught.set(name, performance.now());
      const address = { bytes: addressToBytes(IpAddress(destination.ip)) };
      try {
        maps.httpServers.set({ address, port: destination.port, identity: source.identity }, HttpServer.CLIENT_PLAIN, "new");
      } catch (thrown) {
        if (!isKernelError(thrown, "EEXIST")) throw thrown;
      }
    },
    [Symbol.dispose]: () => ring.close(),
  };
}

/** An exchange after which the connection is as it was: no other protocol was agreed on. */
function isPlain({ kind, verdict, http }: AccessMessage): boolean {
  if (http.protocol === "HTTP/2") return false;
  return verdict === "DROPPED" || (kind === "response" && verdict === "FORWARDED" && http.code !== 101);
}

/** The rules of the endpoint's ports that the kernel can decide, with those of ranges that cover them. Ranges themselves are the proxy's, and audit mode. */
function portRules({ id, ingress, audit }: ProxyEndpoint): HttpPortRules[] {
  if (audit !== undefined) return [];
  const ports = new Set(ingress.filter(({ endPort }) => endPort === undefined).map(({ port }) => port));
  return [...ports].flatMap((port) => {
    const covering = ingress.filter((entry) => entry.port <= port && port <= (entry.endPort ?? entry.port));
    const compiled = kernelRules(covering.flatMap(({ rules }) => rules));
    return [...(compiled ?? [])].map(([identity, one]) => ({ endpoint: id, port, identity, ...one }));
  });
}
