import type { Answer, Question } from "dns-packet";

/** The parts of a Service that its records come from. */
export interface DnsService {
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: {
    readonly type?: string;
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly externalName?: string;
    readonly publishNotReadyAddresses?: boolean;
    readonly ports?: readonly { readonly name?: string; readonly port: number; readonly protocol?: string }[];
  };
}

/** The parts of an EndpointSlice that the records of headless Services come from. */
export interface DnsSlice {
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly endpoints?: readonly {
    readonly addresses: readonly string[];
    readonly hostname?: string;
    readonly conditions?: { readonly ready?: boolean };
  }[];
  readonly ports?: readonly { readonly name?: string; readonly port?: number; readonly protocol?: string }[];
}

/** What the zone says to a question. `undefined`: not a name of the zone, ask elsewhere. */
export interface ZoneAnswer {
  readonly exists: boolean;
  readonly answers: readonly Answer[];
}

/** The records of a cluster, by the specification "Kubernetes DNS-Based Service Discovery" 1.1. */
export interface Zone {
  setServices(services: Iterable<DnsService>): void;
  setSlices(slices: Iterable<DnsSlice>): void;
  resolve(question: Question): ZoneAnswer | undefined;
}

const TTL_SECONDS = 5;
const NOTHING: ZoneAnswer = { exists: false, answers: [] };
const EMPTY: ZoneAnswer = { exists: true, answers: [] };

interface Address {
  readonly ip: string;
  readonly host: string;
}

/** A zone for `domain`, such as `cluster.local`. */
export function createZone(domain: string): Zone {
  const services = new Map<string, DnsService>();
  const slices = new Map<string, DnsSlice[]>();
  const names = new Map<string, string>(); // address → name, for PTR
  const namespaces = new Set<string>();

  const index = () => {
    names.clear();
    namespaces.clear();
    for (const [key, service] of services) {
      const [namespace = "", name = ""] = key.split("/");
      namespaces.add(namespace);
      const full = `${name}.${namespace}.svc.${domain}`;
      for (const ip of clusterIps(service)) names.set(ip, full);
      if (isHeadless(service)) for (const { ip, host } of endpointsOf(key, service)) names.set(ip, `${host}.${full}`);
    }
  };
  const endpointsOf = (key: string, service: DnsService): Address[] =>
    (slices.get(key) ?? []).flatMap((slice) =>
      (slice.endpoints ?? [])
        .filter((endpoint) => endpoint.conditions?.ready !== false || service.spec?.publishNotReadyAddresses)
        .flatMap(({ addresses, hostname }) => addresses.map((ip) => ({ ip, host: hostname ?? ip.replace(/[.:]/g, "-") }))),
    );

  const resolveService = (question: Question, labels: readonly string[]): ZoneAnswer => {
    const [namespace = "", name = "", ...more] = labels.toReversed();
    const key = `${namespace}/${name}`;
    const service = services.get(key);
    if (name === "" && namespaces.has(namespace)) return EMPTY;
    if (!service) return NOTHING;
    const endpoints = isHeadless(service) ? endpointsOf(key, service) : clusterIps(service).map((ip) => ({ ip, host: "" }));
    return serviceAnswer(question, { service, endpoints, name: `${name}.${namespace}.svc.${domain}` }, more);
  };

  const resolveName = (question: Question, name: string): ZoneAnswer => {
    const labels = name.slice(0, -domain.length - 1).split(".");
    const kind = labels.pop();
    if (kind === "pod") return resolvePod(question, labels);
    if (kind !== "svc") return NOTHING;
    return labels.length === 0 ? EMPTY : resolveService(question, labels);
  };

  return {
    setServices(list) {
      services.clear();
      for (const service of list) services.set(`${service.metadata.namespace}/${service.metadata.name}`, service);
      index();
    },
    setSlices(list) {
      slices.clear();
      for (const slice of list) {
        const key = `${slice.metadata.namespace}/${slice.metadata.labels?.["kubernetes.io/service-name"]}`;
        slices.set(key, [...(slices.get(key) ?? []), slice]);
      }
      index();
    },
    resolve(question) {
      const name = question.name.toLowerCase().replace(/\.$/, "");
      const reverse = reverseAddress(name);
      if (reverse !== undefined) return pointerAnswer(question, names.get(reverse));
      if (name === domain) return EMPTY;
      return name.endsWith(`.${domain}`) ? resolveName(question, name) : undefined;
    },
  };
}

interface Found {
  readonly service: DnsService;
  readonly endpoints: readonly Address[];
  /** The service's own full name. */
  readonly name: string;
}

// `more` is what stands before the service's name, nearest first: nothing, an endpoint's host, or _proto and _port.
function serviceAnswer(question: Question, found: Found, more: readonly string[]): ZoneAnswer {
  const { service, endpoints } = found;
  const { type, externalName, ports = [] } = service.spec ?? {};
  if (type === "ExternalName" && externalName) {
    return { exists: true, answers: [{ type: "CNAME", name: question.name, ttl: TTL_SECONDS, data: externalName }] };
  }
  if (more.length === 0) return question.type === "SRV" ? serviceRecords(question, found, ports) : addresses(question, endpoints);
  const [first = "", second] = more;
  if (second !== undefined && more.length === 2) {
    const named = ports.filter((port) => `_${port.name}` === second && `_${(port.protocol ?? "TCP").toLowerCase()}` === first);
    if (named.length === 0) return NOTHING;
    return question.type === "SRV" ? serviceRecords(question, found, named) : EMPTY;
  }
  const hosts = endpoints.filter(({ host }) => host === first);
  return more.length === 1 && hosts.length > 0 ? addresses(question, hosts) : NOTHING;
}

function pointerAnswer(question: Question, data: string | undefined): ZoneAnswer | undefined {
  if (data === undefined) return undefined;
  return question.type === "PTR" ? { exists: true, answers: [{ type: "PTR", name: question.name, ttl: TTL_SECONDS, data }] } : EMPTY;
}

function isHeadless(service: DnsService): boolean {
  return service.spec?.clusterIP === "None";
}

function clusterIps(service: DnsService): string[] {
  const { clusterIP = "", clusterIPs = [] } = service.spec ?? {};
  return (clusterIPs.length > 0 ? [...clusterIPs] : [clusterIP]).filter((ip) => ip !== "" && ip !== "None");
}

function addresses(question: Question, found: readonly Address[]): ZoneAnswer {
  const { name, type } = question;
  const wanted = found.filter(({ ip }) => (ip.includes(":") ? type === "AAAA" : type === "A"));
  return { exists: true, answers: wanted.map(({ ip }) => ({ type: type as "A" | "AAAA", name, ttl: TTL_SECONDS, data: ip })) };
}

function serviceRecords(question: Question, { service, endpoints, name }: Found, ports: readonly { readonly port: number }[]): ZoneAnswer {
  const hosts = isHeadless(service) ? [...new Set(endpoints.map(({ host }) => `${host}.${name}`))] : [name];
  const records = hosts.flatMap((target) => ports.map(({ port }) => ({ priority: 0, weight: 100, port, target })));
  return { exists: true, answers: records.map((data) => ({ type: "SRV", name: question.name, ttl: TTL_SECONDS, data })) };
}

// 10-244-1-7.demo.pod: the address is in the name.
function resolvePod(question: Question, labels: readonly string[]): ZoneAnswer {
  const [dashed = "", ...rest] = labels;
  if (rest.length !== 1) return labels.length <= 1 ? EMPTY : NOTHING;
  const ip = /^\d+-\d+-\d+-\d+$/.test(dashed) ? dashed.replaceAll("-", ".") : dashed.replaceAll("-", ":");
  const valid = /^(\d{1,3}\.){3}\d{1,3}$|^[0-9a-f:]*:[0-9a-f:]*$/.test(ip);
  return valid ? addresses(question, [{ ip, host: "" }]) : NOTHING;
}

function reverseAddress(name: string): string | undefined {
  if (name.endsWith(".in-addr.arpa")) return name.slice(0, -13).split(".").toReversed().join(".");
  return undefined;
}
