import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type DatapathConfig, encodeConfig } from "#datapath/gen/config.ts";
import { maps as specs } from "#datapath/gen/maps.ts";
import type { Bpf, CgroupHook, LoadedObject, MapSpec } from "#ebpf/bpf.ts";
import { CodedError } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { type Attachments, createAttachments } from "./attach.ts";
import { createExpedite, type Expedite } from "./expedite.ts";

/** The datapath could not be loaded; the message says what to do. */
export class DatapathError extends CodedError {}

/** The loaded programs and their pinned maps. Disposing closes handles; the datapath goes on as it is. */
export interface Datapath extends Disposable {
  readonly maps: DatapathMaps;
  /** Undefined where HTTP is the proxy's alone. */
  readonly httpMaps: HttpMaps | undefined;
  readonly attachments: Attachments;
  /** For other work that waits for grace periods. */
  readonly expedite: Expedite;
}

export type DatapathMaps = ReturnType<typeof openMaps>;

export type HttpMaps = ReturnType<typeof openHttpMaps>;

export interface DatapathOptions {
  readonly bpfRoot: string;
  /** Where the compiled objects are. */
  readonly objects: string;
  readonly constants: Partial<DatapathConfig>;
  /** Whether there is to be a program for drivers. */
  readonly acceleration?: boolean;
  /** Whether there are to be programs that decide HTTP at sockets. */
  readonly http?: boolean;
}

/** Which program goes to which socket hook. */
const SOCKET_HOOKS: Readonly<Record<string, CgroupHook>> = {
  cil_sock4_connect: "connect4",
  cil_sock4_sendmsg: "sendmsg4",
  cil_sock4_recvmsg: "recvmsg4",
  cil_sock4_getpeername: "getpeername4",
  cil_sock6_connect: "connect6",
  cil_sock6_sendmsg: "sendmsg6",
  cil_sock6_recvmsg: "recvmsg6",
  cil_sock6_getpeername: "getpeername6",
  cil_sock4_post_bind: "post_bind4",
  cil_sock6_post_bind: "post_bind6",
};

/**
 * Loads each object once, with the pinned maps there are or new ones. Links are not touched here: `attachments` puts the new
 * programs into them one by one.
 */
export function openDatapath({ bpf, log }: { readonly bpf: Bpf; readonly log: Logger }, options: DatapathOptions): Datapath {
  const pinRoot = join(options.bpfRoot, "tc", "globals");
  mkdirSync(pinRoot, { recursive: true });
  ensureLayouts(bpf, pinRoot, log, options.http ?? false);
  const load = (name: string): LoadedObject => {
    const path = join(options.objects, `${name}.o`);
    if (!existsSync(path)) throw new DatapathError("no-object", `${path} is missing: build the datapath with make -C bpf`);
    return bpf.load(path, { config: { ".rodata.config": encodeConfig(name, options.constants) }, pinRoot });
  };
  const [lxc, host, sock] = [load("bpf_lxc"), load("bpf_host"), load("bpf_sock")];
  const xdp = options.acceleration ? load("bpf_xdp") : undefined;
  const http = options.http ? load("bpf_http") : undefined;
  const programs = {
    http: http && {
      accepted: http.program("cil_http_sockops"),
      ingress: http.program("cil_http_ingress"),
      egress: http.program("cil_http_egress"),
      verdict: http.program("cil_http_verdict"),
      sockets: http.map(specs.ciliumHttpSockets),
    },
    fromContainer: lxc.program("cil_from_container"),
    toContainer: lxc.program("cil_to_container"),
    fromNetdev: host.program("cil_from_netdev"),
    toNetdev: host.program("cil_to_netdev"),
    driver: xdp?.program("cil_xdp_entry"),
    sockets: new Map(Object.entries(SOCKET_HOOKS).map(([name, hook]) => [hook, sock.program(name)] as const)),
  };
  const maps = openMaps(bpf, pinRoot);
  const expedite = createExpedite();
  const httpMaps = http && openHttpMaps(bpf, pinRoot);
  return {
    maps,
    httpMaps,
    expedite,
    attachments: createAttachments({ bpf, expedite }, programs, join(options.bpfRoot, "cilium")),
    [Symbol.dispose]() {
      for (const map of Object.values(maps)) map.close();
      for (const map of Object.values(httpMaps ?? {})) map.close();
      programs.http?.sockets.close();
      for (const object of [lxc, host, sock, xdp, http]) object?.close();
    },
  };
}

/** Maps that hold what tables and packets refill anyway may be replaced when their layout changed; programs of before keep theirs until then. */
function ensureLayouts(bpf: Bpf, pinRoot: string, log: Logger, withHttp: boolean): void {
  const plain = [
    specs.ciliumLxc,
    specs.ciliumLxcIfindex,
    specs.ciliumIpcache,
    specs.ciliumIpcacheLpm,
    specs.ciliumFqdn,
    specs.ciliumPolicyConfig,
    specs.ciliumCt,
    specs.ciliumRuntimeConfig,
    specs.ciliumPolicyUsage,
    specs.ciliumPolicySettled,
    specs.ciliumHttpRules,
    specs.ciliumHttpServers,
  ];
  const services = [
    specs.ciliumLbServices,
    specs.ciliumLbBackends,
    specs.ciliumLbReverseNat,
    specs.ciliumLbSourceRange,
    specs.ciliumLbAffinity,
    specs.ciliumLbAffinityMatch,
    specs.ciliumLbReverseSk,
    specs.ciliumSkipLb,
    specs.ciliumLbNode,
    specs.ciliumLbCt,
    specs.ciliumSnat,
  ];
  // Connections of before have no state in a new map: they carry nothing any more.
  const http = withHttp ? [specs.ciliumHttpState, specs.ciliumHttpPaths, specs.ciliumHttpAnswers] : [];
  for (const spec of [...plain, ...services, ...http]) {
    const { map, outcome } = bpf.ensureMap(spec as MapSpec<unknown, unknown>, join(pinRoot, spec.name));
    if (outcome === "replaced") log.warn("pinned map had another layout and was replaced; it is filled in again", { map: spec.name });
    map.close();
  }
  const maglev = join(pinRoot, specs.ciliumLbMaglev.name);
  if (existsSync(maglev)) return;
  using created = bpf.createMapOfMaps(specs.ciliumLbMaglev);
  created.pin(maglev);
}

function openMaps(bpf: Bpf, pinRoot: string) {
  const pin = (spec: { readonly name: string }) => join(pinRoot, spec.name);
  return {
    lxc: bpf.openMap(specs.ciliumLxc, pin(specs.ciliumLxc)),
    lxcIfindex: bpf.openMap(specs.ciliumLxcIfindex, pin(specs.ciliumLxcIfindex)),
    ipcache: bpf.openMap(specs.ciliumIpcache, pin(specs.ciliumIpcache)),
    ipcacheLpm: bpf.openMap(specs.ciliumIpcacheLpm, pin(specs.ciliumIpcacheLpm)),
    fqdn: bpf.openMap(specs.ciliumFqdn, pin(specs.ciliumFqdn)),
    policy: bpf.openMapOfMaps(specs.ciliumPolicy, pin(specs.ciliumPolicy)),
    policyConfig: bpf.openMap(specs.ciliumPolicyConfig, pin(specs.ciliumPolicyConfig)),
    conntrack: bpf.openMap(specs.ciliumCt, pin(specs.ciliumCt)),
    services: bpf.openMap(specs.ciliumLbServices, pin(specs.ciliumLbServices)),
    backends: bpf.openMap(specs.ciliumLbBackends, pin(specs.ciliumLbBackends)),
    reverseNat: bpf.openMap(specs.ciliumLbReverseNat, pin(specs.ciliumLbReverseNat)),
    maglev: bpf.openMapOfMaps(specs.ciliumLbMaglev, pin(specs.ciliumLbMaglev)),
    sourceRanges: bpf.openMap(specs.ciliumLbSourceRange, pin(specs.ciliumLbSourceRange)),
    reverseSockets: bpf.openMap(specs.ciliumLbReverseSk, pin(specs.ciliumLbReverseSk)),
    affinityMatch: bpf.openMap(specs.ciliumLbAffinityMatch, pin(specs.ciliumLbAffinityMatch)),
    skipLb: bpf.openMap(specs.ciliumSkipLb, pin(specs.ciliumSkipLb)),
    lbNode: bpf.openMap(specs.ciliumLbNode, pin(specs.ciliumLbNode)),
    lbConntrack: bpf.openMap(specs.ciliumLbCt, pin(specs.ciliumLbCt)),
    nat: bpf.openMap(specs.ciliumSnat, pin(specs.ciliumSnat)),
    runtimeConfig: bpf.openMap(specs.ciliumRuntimeConfig, pin(specs.ciliumRuntimeConfig)),
    usage: bpf.openPerCpuMap(specs.ciliumPolicyUsage, pin(specs.ciliumPolicyUsage)),
    settled: bpf.openMap(specs.ciliumPolicySettled, pin(specs.ciliumPolicySettled)),
    httpRules: bpf.openMap(specs.ciliumHttpRules, pin(specs.ciliumHttpRules)),
    metrics: bpf.openPerCpuMap(specs.ciliumMetrics, pin(specs.ciliumMetrics)),
    eventsLost: bpf.openPerCpuMap(specs.ciliumEventsLost, pin(specs.ciliumEventsLost)),
    events: bpf.openRingMap(pin(specs.ciliumEvents)),
  };
}

function openHttpMaps(bpf: Bpf, pinRoot: string) {
  const pin = (spec: { readonly name: string }) => join(pinRoot, spec.name);
  return {
    httpRules: bpf.openMap(specs.ciliumHttpRules, pin(specs.ciliumHttpRules)),
    httpPaths: bpf.openMap(specs.ciliumHttpPaths, pin(specs.ciliumHttpPaths)),
    httpAnswers: bpf.openMap(specs.ciliumHttpAnswers, pin(specs.ciliumHttpAnswers)),
    httpServers: bpf.openMap(specs.ciliumHttpServers, pin(specs.ciliumHttpServers)),
    httpEvents: bpf.openRingMap(join(pinRoot, "cilium_http_events")),
    httpCounts: bpf.openPerCpuMap(specs.ciliumHttpCounts, pin(specs.ciliumHttpCounts)),
  };
}
