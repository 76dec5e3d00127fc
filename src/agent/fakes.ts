import { createAttachments } from "#datapath/attach.ts";
import { maps as specs } from "#datapath/gen/maps.ts";
import type { Datapath, DatapathMaps } from "#datapath/loader.ts";
import type { Program } from "#ebpf/bpf.ts";
import { createFakeBpf, type FailureInjector } from "#ebpf/fake.ts";
import type { ProxyClient } from "./proxy-client.ts";

/** A datapath in memory, for tests of the agent: real maps' codecs, programs that do nothing. Each write may fail. */
export function createFakeDatapath(directory: string, fail: FailureInjector = () => {}): Datapath {
  const bpf = createFakeBpf({ fail });
  const object = bpf.load("fake.o");
  const create = <K, V>(spec: Parameters<typeof bpf.createMap<K, V>>[0]) => bpf.createMap(spec);
  const maps: DatapathMaps = {
    lxc: create(specs.ciliumLxc),
    lxcIfindex: create(specs.ciliumLxcIfindex),
    ipcache: create(specs.ciliumIpcache),
    ipcacheLpm: create(specs.ciliumIpcacheLpm),
    fqdn: create(specs.ciliumFqdn),
    policy: bpf.createMapOfMaps(specs.ciliumPolicy),
    policyConfig: create(specs.ciliumPolicyConfig),
    conntrack: create(specs.ciliumCt),
    services: create(specs.ciliumLbServices),
    backends: create(specs.ciliumLbBackends),
    reverseNat: create(specs.ciliumLbReverseNat),
    maglev: bpf.createMapOfMaps(specs.ciliumLbMaglev),
    sourceRanges: create(specs.ciliumLbSourceRange),
    reverseSockets: create(specs.ciliumLbReverseSk),
    affinityMatch: create(specs.ciliumLbAffinityMatch),
    skipLb: create(specs.ciliumSkipLb),
    lbNode: create(specs.ciliumLbNode),
    lbConntrack: create(specs.ciliumLbCt),
    nat: create(specs.ciliumSnat),
    runtimeConfig: create(specs.ciliumRuntimeConfig),
    httpRules: create(specs.ciliumHttpRules),
    usage: object.perCpuMap(specs.ciliumPolicyUsage),
    settled: create(specs.ciliumPolicySettled),
    metrics: object.perCpuMap(specs.ciliumMetrics),
    eventsLost: object.perCpuMap(specs.ciliumEventsLost),
    events: object.ringMap("cilium_events"),
  };
  const program = (name: string): Program => ({ name, fd: 0, pin: () => {}, close: () => {}, [Symbol.dispose]: () => {} });
  const programs = {
    fromContainer: program("from"),
    toContainer: program("to"),
    fromNetdev: program("netdev"),
    toNetdev: program("to_netdev"),
    driver: program("xdp"),
    http: undefined,
    sockets: new Map(),
  };
  return {
    maps,
    httpMaps: undefined,
    expedite: (work) => work(),
    attachments: createAttachments({ bpf, expedite: (work) => work() }, programs, directory),
    [Symbol.dispose]() {},
  };
}

/** A proxy that acknowledges at once, or is away. */
export function createFakeProxy(connected: boolean): ProxyClient & { readonly sent: Parameters<ProxyClient["send"]>[0][] } {
  const sent: Parameters<ProxyClient["send"]>[0][] = [];
  return {
    sent,
    connected,
    status: undefined,
    async send(endpoints) {
      sent.push(endpoints);
      return connected;
    },
    sendDns: async () => connected,
    names: async () => [],
    async [Symbol.asyncDispose]() {},
  };
}
