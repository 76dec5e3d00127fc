import { EventEmitter, once } from "node:events";
import { readHttpCounts } from "#agent/kernel-http-counts.ts";
import { type DatapathConfig, encodeConfig } from "#datapath/gen/config.ts";
import { HttpEventFlags, HttpOutcome, HttpServer } from "#datapath/gen/enums.ts";
import { maps as specs } from "#datapath/gen/maps.ts";
import { type HttpEvent, httpEvent } from "#datapath/gen/structs.ts";
import { createHttpReconciler, writeHttpAnswers } from "#datapath/reconcile/http.ts";
import type { Link, LoadedObject } from "#ebpf/bpf.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { kernelAnswers } from "#proxy/http/kernel-answers.ts";
import { DENIED } from "#proxy/http/local-reply.ts";
import { kernelRules } from "#proxy/policy/kernel-rules.ts";
import type { PeerRule } from "#proxy/protocol.ts";
import { findCgroup2 } from "#sys/mount.ts";
import { addressToBytes } from "#types/addr.ts";
import type { Family, RealPod } from "./nodes.ts";

/** The programs at the sockets of this process, with the maps of a node's other programs. */
export class KernelHttp implements Disposable {
  readonly #object: LoadedObject;
  readonly #accepting: Link;
  readonly #scope = new DisposableStack();
  readonly #rules: ReturnType<typeof createHttpReconciler>;
  readonly #outcomes = new Map<number, readonly string[]>();
  readonly #answers = new Map<number, HttpEvent>();
  readonly #wake = new EventEmitter().setMaxListeners(0);

  constructor(node: LoadedObject, settings: Partial<DatapathConfig> = { monitorAggregation: 0 }) {
    const shared = node.mapNames.filter((name) => name.startsWith("cilium_")).map((name) => [name, node.ringMap(name)] as const);
    const path = new URL("../../bpf/bpf_http.o", import.meta.url).pathname;
    const config = { ".rodata.config": encodeConfig("bpf_http", settings) };
    this.#object = this.#scope.use(openBpf().load(path, { config, reuse: Object.fromEntries(shared) }));
    const bpf = openBpf();
    const sockets = this.#scope.use(this.#object.ringMap("cilium_http_sockets"));
    this.#scope.use(bpf.attachSockets(this.#object.program("cil_http_verdict"), sockets));
    const root = findCgroup2();
    if (root === undefined) throw new Error("no cgroup v2 here");
    this.#scope.use(bpf.attachCgroup(this.#object.program("cil_http_ingress"), root, "ingress"));
    this.#scope.use(bpf.attachCgroup(this.#object.program("cil_http_egress"), root, "egress"));
    this.#accepting = this.#scope.use(bpf.attachCgroup(this.#object.program("cil_http_sockops"), root, "sock_ops"));
    const [httpRules, httpPaths, httpAnswers] = [
      this.#object.map(specs.ciliumHttpRules),
      this.#object.map(specs.ciliumHttpPaths),
      this.#object.map(specs.ciliumHttpAnswers),
    ];
    this.#rules = createHttpReconciler({ httpRules, httpPaths, httpAnswers });
    const events = this.#scope.use(this.#object.ringMap("cilium_http_events"));
    this.#scope.use(bpf.openRing(events, (batch) => this.#take(batch)));
    writeHttpAnswers(httpAnswers, kernelAnswers(DENIED));
  }

  #take(batch: Iterable<Buffer>): void {
    for (const record of batch) {
      const event = httpEvent.decode(record, 0);
      const { clientPort, outcome, status, flags } = event;
      if (outcome === HttpOutcome.ANSWERED) {
        this.#answers.set(clientPort, event);
        continue;
      }
      const text = flags & HttpEventFlags.CUT ? "cut" : outcome === HttpOutcome.FORWARDED ? "passed" : String(status);
      this.#outcomes.set(clientPort, [...(this.#outcomes.get(clientPort) ?? []), text]);
    }
    this.#wake.emit("outcome");
  }

  /** Forgets connections of before: ports are used again. */
  expect(clientPort: number): number {
    this.#outcomes.delete(clientPort);
    this.#answers.delete(clientPort);
    return clientPort;
  }

  /** The server's next answer to the connection from that port. */
  async answered(clientPort: number): Promise<HttpEvent> {
    for (;;) {
      const found = this.#answers.get(clientPort);
      if (found && this.#answers.delete(clientPort)) return found;
      await once(this.#wake, "outcome");
    }
  }

  /** All that was counted. */
  get counts() {
    return readHttpCounts({ httpCounts: this.#object.perCpuMap(specs.ciliumHttpCounts) });
  }

  /** What became of the requests of the connection from that port since the last call, once there are so many: status codes, "passed", "cut". */
  async settled(clientPort: number, count: number): Promise<readonly string[]> {
    for (;;) {
      const found = this.#outcomes.get(clientPort) ?? [];
      if (found.length >= count) {
        this.#outcomes.delete(clientPort);
        return found;
      }
      await once(this.#wake, "outcome");
    }
  }

  /** Rules of a pod's port 80, and what is known of it and of a client. */
  allow(pod: RealPod, client: number, rules: readonly PeerRule[]): void {
    const compiled = kernelRules(rules);
    if (compiled === undefined) throw new Error("these rules are the proxy's");
    this.#rules.update([...compiled].map(([identity, one]) => ({ endpoint: pod.lxcId, port: 80, identity, ...one })));
    for (const family of ["ipv4", "ipv6"] as const) {
      this.#servers.set(this.#key(pod, family, 0), HttpServer.SERVER_SEEN);
      this.#servers.set(this.#key(pod, family, client), HttpServer.CLIENT_PLAIN);
    }
  }

  /** From now on no socket is taken, as if the pod were in another cgroup. */
  stopAccepting(): void {
    this.#accepting.detach();
  }

  /** Takes all rules away. */
  forget(): void {
    this.#rules.update([]);
  }

  /** Whether the port's sockets are no longer taken. */
  isOdd(pod: RealPod): boolean {
    return this.#servers.get(this.#key(pod, "ipv4", 0)) === HttpServer.SERVER_ODD;
  }

  /** Whether the kernel has given the client to the proxy. */
  isHandedOver(pod: RealPod, family: Family, client: number): boolean {
    return this.#servers.get(this.#key(pod, family, client)) === HttpServer.CLIENT_OTHER;
  }

  get #servers() {
    return this.#object.map(specs.ciliumHttpServers);
  }

  #key(pod: RealPod, family: Family, identity: number) {
    return { address: { bytes: addressToBytes(pod[family]) }, port: 80, identity };
  }

  [Symbol.dispose](): void {
    this.#scope.dispose();
  }
}
