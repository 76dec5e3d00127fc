import { type Endpoint, type Flow, FlowType, L7FlowType, Verdict } from "#api/gen/flow/flow_pb.ts";
import { reservedName } from "#identity/reserved.ts";
import { labelKey } from "#labels/label.ts";
import { type LabelSet, labelSet } from "#labels/label-set.ts";
import { type IpAddress, parseAddress } from "#types/addr.ts";
import { NumericIdentity } from "#types/identity.ts";
import { formatProtocol, protocolNumber } from "#types/proto.ts";
import type { HttpRequest } from "../l7/http.ts";

/** One end of recorded traffic, as far as a policy cares. */
export type End =
  | { readonly kind: "pod"; readonly namespace: string; readonly workload: string; readonly labels: LabelSet; readonly title: string }
  /** A node, a health endpoint or another reserved identity. */
  | { readonly kind: "entity"; readonly identity: number; readonly title: string }
  | { readonly kind: "outside"; readonly address: IpAddress; readonly names: readonly string[]; readonly title: string };

/** What was asked of the other end: a connection, one request of it, or a name. */
export type Observed = {
  readonly from: End;
  readonly to: End;
  readonly protocol: number;
  /** The receiver's own port; for ICMP the type. */
  readonly port: number;
  readonly http?: HttpRequest | undefined;
  /** The name that was asked for. */
  readonly dns?: string | undefined;
  /** Records that say the same. */
  readonly flows: number;
  /** How many of them were let pass, and how many dropped. */
  readonly passed: number;
  readonly dropped: number;
  /** Milliseconds since 1970 of the newest. */
  readonly last: number;
};

/** Distinct traffic out of many flow records; its size grows with what differs, not with the number of records. */
export interface Observations {
  /** Answers, arrivals whose direction nobody knows yet, socket translations and the like are left out, and counted. */
  add(flow: Flow): void;
  list(): Observed[];
  readonly flows: number;
  /** Records that could not be used, by the reason. */
  readonly leftOut: ReadonlyMap<string, number>;
}

/** Starts with nothing. */
export function createObservations(): Observations {
  const found = new Map<string, Observed>();
  const workloads = new Map<string, string>();
  const leftOut = new Map<string, number>();
  let flows = 0;
  return {
    leftOut,
    get flows() {
      return flows;
    },
    list: () => [...found.values()].map((one) => ({ ...one, from: named(one.from, workloads), to: named(one.to, workloads) })),
    add(flow) {
      flows += 1;
      for (const endpoint of [flow.source, flow.destination]) {
        const [workload] = endpoint?.workloads ?? [];
        if (endpoint && workload) workloads.set(labelSet(endpoint.labels).key, workload.name);
      }
      const read = readFlow(flow);
      if (typeof read === "string") {
        leftOut.set(read, (leftOut.get(read) ?? 0) + 1);
        return;
      }
      const key = observedKey(read);
      const old = found.get(key);
      found.set(key, old === undefined ? read : { ...read, ...sums(old, read) });
    },
  };
}

/** The end with its workload's name, when some node has told it: of pods of other nodes a node knows labels and names only. */
function named(end: End, workloads: ReadonlyMap<string, string>): End {
  const workload = end.kind === "pod" ? workloads.get(end.labels.key) : undefined;
  return end.kind === "pod" && workload !== undefined ? { ...end, workload, title: `${end.namespace}/${workload}` } : end;
}

function sums(a: Observed, b: Observed) {
  return { flows: a.flows + b.flows, passed: a.passed + b.passed, dropped: a.dropped + b.dropped, last: Math.max(a.last, b.last) };
}

/** Equal for traffic that no policy tells apart. */
export function observedKey({ from, to, protocol, port, http, dns }: Observed): string {
  return `${connectionKey({ from, to, protocol, port })}|${http ? JSON.stringify(http) : ""}|${dns ?? ""}`;
}

/** The same without what was asked for in it. */
export function connectionKey({ from, to, protocol, port }: Pick<Observed, "from" | "to" | "protocol" | "port">): string {
  return `${endKey(from)}>${endKey(to)}|${protocol}|${port}`;
}

export function endKey(end: End): string {
  if (end.kind === "pod") return end.labels.key;
  return end.kind === "entity" ? `reserved ${end.identity}` : `${end.address} ${end.names.join()}`;
}

/** `GET /path`, `example.com`, or nothing; for people. */
export function requestTitle({ http, dns }: Pick<Observed, "http" | "dns">): string {
  return http ? `${http.method} ${http.path}` : (dns ?? "");
}

/** `80/TCP`; for people. */
export function portTitle({ protocol, port }: Pick<Observed, "protocol" | "port">): string {
  return `${port}/${formatProtocol(protocol)}`;
}

/** The traffic that a record tells of, or why it tells of none. */
function readFlow(flow: Flow): Observed | string {
  if (flow.Type === FlowType.SOCK) return "service translations at sockets";
  const isRequest = requestOf(flow);
  if (isRequest !== true) return isRequest;
  const layer4 = layer4Of(flow);
  if (layer4 === undefined) return "no protocol and port that policies know";
  const [from, to] = [
    endOf(flow.source, flow.IP?.source, flow.sourceNames),
    endOf(flow.destination, flow.IP?.destination, flow.destinationNames),
  ];
  if (from === undefined || to === undefined) return "an end without labels or address";
  const dropped = flow.verdict === Verdict.DROPPED || flow.verdict === Verdict.ERROR;
  const time = flow.time === undefined ? 0 : Number(flow.time.seconds) * 1000 + Math.floor(flow.time.nanos / 1e6);
  return { from, to, ...layer4, ...layer7Of(flow), flows: 1, passed: dropped ? 0 : 1, dropped: dropped ? 1 : 0, last: time };
}

/** Whether the record is of somebody asking, and not of an answer. */
function requestOf(flow: Flow): true | string {
  if (flow.Type === FlowType.L7) return flow.l7?.type === L7FlowType.RESPONSE ? "answers" : true;
  if (flow.isReply === true) return "answers";
  if (flow.isReply === false) return true;
  if (flow.verdict !== Verdict.DROPPED) return "arrivals before anybody knew their connection";
  // Nobody says which way a dropped packet goes: the first one of a connection does by itself.
  const { protocol } = flow.l4 ?? {};
  if (protocol?.case !== "TCP") return true;
  const { SYN, ACK } = protocol.value.flags ?? {};
  return SYN === true && ACK !== true ? true : "drops in the middle of connections";
}

function layer4Of({ l4 }: Flow): { protocol: number; port: number } | undefined {
  const { protocol } = l4 ?? {};
  switch (protocol?.case) {
    case "TCP":
    case "UDP":
    case "SCTP":
      if (protocol.value.destinationPort === 0) return undefined;
      return { protocol: protocolNumber[protocol.case], port: protocol.value.destinationPort };
    case "ICMPv4":
      return { protocol: protocolNumber.ICMP, port: protocol.value.type };
    case "ICMPv6":
      return { protocol: protocolNumber.ICMPv6, port: protocol.value.type };
    default:
      return undefined;
  }
}

function layer7Of({ Type, l7 }: Flow): { http?: HttpRequest; dns?: string } {
  if (Type !== FlowType.L7 || l7 === undefined) return {};
  if (l7.record.case === "dns") return { dns: l7.record.value.query.replace(/\.$/, "").toLowerCase() };
  if (l7.record.case !== "http") return {};
  const { method, url, headers } = l7.record.value;
  const { host, path } = splitUrl(url);
  return { http: { method, host, path, headers: headers.filter(isRulable).map(({ key, value }) => [key, value] as const) } };
}

/** What differs from request to request would make each of them another. */
function isRulable({ key }: { readonly key: string }): boolean {
  return !/^(x-request-id|x-forwarded-.*|traceparent|tracestate|date|content-length|user-agent|accept.*|cookie|authorization)$/i.test(key);
}

function splitUrl(url: string): { host: string; path: string } {
  const [, host = "", path = ""] = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)(.*)$/i.exec(url) ?? [undefined, "", url];
  return { host: host.replace(/:\d+$/, ""), path: path === "" ? "/" : path };
}

const LAST_RESERVED = 255;
const WORLD = [2, 9, 10];

function endOf(endpoint: Endpoint | undefined, ip: string | undefined, names: readonly string[]): End | undefined {
  const identity = endpoint?.identity ?? 0;
  if (identity > 0 && identity <= LAST_RESERVED && !WORLD.includes(identity)) {
    const title = reservedName(NumericIdentity(identity));
    return title === undefined ? undefined : { kind: "entity", identity, title };
  }
  const labels = endpoint?.labels ?? [];
  if (endpoint && labels.some((text) => text.startsWith("k8s:"))) return podOf(endpoint, labelSet(labels));
  const address = parseAddress(ip ?? "");
  if (address === undefined) return undefined;
  const sorted = [...new Set(names.map((name) => name.replace(/\.$/, "")))].sort();
  return { kind: "outside", address, names: sorted, title: sorted[0] ?? address };
}

function podOf({ namespace, podName, workloads }: Endpoint, labels: LabelSet): End | undefined {
  const own = labels.get("k8s", labelKey.namespace)?.value ?? namespace;
  if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(own)) return undefined;
  const workload = workloads[0]?.name ?? (nameByLabels(labels) || podName || "pod");
  return { kind: "pod", namespace: own, workload, labels, title: `${own}/${workload}` };
}

/** What to call a pod whose workload nobody has told; its own name differs from replica to replica. */
function nameByLabels(labels: LabelSet): string {
  return ["app.kubernetes.io/name", "app", "k8s-app", "name"].map((key) => labels.get("k8s", key)?.value).find((value) => value) ?? "";
}
