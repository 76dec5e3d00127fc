import { isIP } from "node:net";
import { type Cause, cause } from "../errors.ts";
import { asArray, asObject, at, child, type JsonObject, type KubeObject } from "../object.ts";
import type { Core } from "../operations/core.ts";
import { specialProblem } from "./endpoint-slices.ts";
import { fill, items } from "./fields.ts";
import { isPort } from "./podcheck.ts";
import { parseRange, type Range, toAddress, toNumber } from "./ranges.ts";
import type { Rules } from "./rules.ts";
import { portKey, type Taken, takenByOthers } from "./service-claims.ts";

const TYPES = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const specOf = (service: KubeObject): JsonObject => child(service as unknown as JsonObject, "spec");
const exposed = (spec: JsonObject): boolean => spec.type === "NodePort" || spec.type === "LoadBalancer";

export const serviceRules: Rules = {
  drop: (service, before) => dropOfOtherType(specOf(service), asObject(before.spec)),
  defaults(service) {
    const spec = specOf(service);
    fill(spec, { type: "ClusterIP", sessionAffinity: "None" });
    if (spec.sessionAffinity === "ClientIP") fill(child(child(spec, "sessionAffinityConfig"), "clientIP"), { timeoutSeconds: 10_800 });
    for (const port of items(spec, "ports")) {
      fill(port, { protocol: "TCP" });
      // A targetPort of 0 or "" is one that was not given.
      if (spec.type !== "ExternalName" && !port.targetPort) port.targetPort = port.port;
    }
    if (spec.type !== "ExternalName") fill(spec, { internalTrafficPolicy: "Cluster" });
    if (exposed(spec)) fill(spec, { externalTrafficPolicy: "Cluster" });
    else delete spec.externalTrafficPolicy;
    if (spec.type === "LoadBalancer") fill(spec, { allocateLoadBalancerNodePorts: true });
    else delete spec.allocateLoadBalancerNodePorts;
    fill(service as unknown as JsonObject, { status: { loadBalancer: {} } });
  },
  validate: (service) => checkService(asObject(service.spec)),
  prepare(service, before, core) {
    const spec = specOf(service);
    return [
      ...allocateAddresses(spec, service, before, core),
      ...allocateNodePorts(spec, service, before, core),
      ...allocateHealthCheckPort(spec, service, before, core),
    ];
  },
};

/**
 * A patch of the type alone keeps what only the old type has: that goes. What the author changed with it stays, to be refused.
 * Addresses and the port for health checks go where they are allocated.
 */
function dropOfOtherType(spec: JsonObject, before: JsonObject): void {
  if (before.type === "LoadBalancer" && spec.type !== "LoadBalancer" && spec.loadBalancerClass === before.loadBalancerClass)
    delete spec.loadBalancerClass;
  if (!exposed(before) || exposed(spec)) return;
  const had = new Set(items(before, "ports").map(({ nodePort }) => nodePort));
  const ports = items(spec, "ports").filter(({ nodePort }) => nodePort);
  if (ports.every(({ nodePort }) => had.has(nodePort))) for (const port of ports) delete port.nodePort;
}

function checkService(spec: JsonObject): Cause[] {
  const causes: Cause[] = [];
  if (!TYPES.includes(String(spec.type))) causes.push(cause.unsupported("spec.type", spec.type, TYPES));
  if (spec.type === "ExternalName" && !spec.externalName) causes.push(cause.required("spec.externalName"));
  causes.push(...checkTraffic(spec));
  const ports = items(spec, "ports");
  if (ports.length === 0 && spec.type !== "ExternalName" && spec.clusterIP !== "None") causes.push(cause.required("spec.ports"));
  const seen = new Set<string>();
  ports.forEach((port, index) => {
    const path = `spec.ports[${index}]`;
    if (!isPort(port.port)) causes.push(cause.invalid(`${path}.port`, port.port, "must be between 1 and 65535, inclusive"));
    if (typeof port.targetPort === "number" && !isPort(port.targetPort))
      causes.push(cause.invalid(`${path}.targetPort`, port.targetPort, "must be between 1 and 65535, inclusive"));
    if (ports.length > 1 && !port.name) causes.push(cause.required(`${path}.name`));
    if (port.nodePort && !exposed(spec))
      causes.push(cause.forbidden(`${path}.nodePort`, `may not be used when \`type\` is '${String(spec.type)}'`));
    const identity = `${String(port.protocol)}/${String(port.port)}`;
    if (seen.has(identity)) causes.push(cause.duplicate(path, { port: port.port, protocol: port.protocol }));
    seen.add(identity);
  });
  return causes;
}

const POLICIES = ["Cluster", "Local"];
const LONGEST_AFFINITY_SECONDS = 86_400;

/** Who reaches the service from where, and for how long. */
function checkTraffic(spec: JsonObject): Cause[] {
  const oneOf = (path: string, value: unknown, allowed: readonly string[]) =>
    value === undefined || allowed.includes(String(value)) ? [] : [cause.unsupported(`spec.${path}`, value, allowed)];
  const timeout = at(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds");
  const isTimeout = timeout === undefined || (Number(timeout) >= 1 && Number(timeout) <= LONGEST_AFFINITY_SECONDS);
  const wrong = (path: string, problem: (text: string) => string | undefined) =>
    asArray(spec[path]).flatMap((value, index) => {
      const words = problem(String(value));
      return words === undefined ? [] : [cause.invalid(`spec.${path}[${index}]`, value, words)];
    });
  return [
    ...oneOf("sessionAffinity", spec.sessionAffinity, ["ClientIP", "None"]),
    ...oneOf("externalTrafficPolicy", spec.externalTrafficPolicy, POLICIES),
    ...oneOf("internalTrafficPolicy", spec.internalTrafficPolicy, POLICIES),
    ...(isTimeout
      ? []
      : [
          cause.invalid(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            timeout,
            `must be greater than 0 and less than ${LONGEST_AFFINITY_SECONDS}`,
          ),
        ]),
    ...wrong("externalIPs", (text) =>
      isIP(text) ? specialProblem(text) : "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
    ),
    ...wrong("loadBalancerSourceRanges", (text) =>
      isRange(text) ? undefined : "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
    ),
  ];
}

function isRange(text: string): boolean {
  try {
    parseRange(text.trim());
    return true;
  } catch {
    return false;
  }
}

const ADDRESS_FIELDS = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];

/** Gives (or keeps, or takes away) the service's cluster addresses. */
function allocateAddresses(spec: JsonObject, service: KubeObject, before: KubeObject | undefined, core: Core): Cause[] {
  const old = at(before, "spec", "clusterIP");
  if (spec.type === "ExternalName") {
    for (const key of ADDRESS_FIELDS) delete spec[key];
    return [];
  }
  if (old && spec.clusterIP && old !== spec.clusterIP && old !== "None")
    return [cause.invalid("spec.clusterIPs[0]", spec.clusterIP, "may not change once set")];
  if (old) {
    for (const key of ADDRESS_FIELDS) spec[key] = at(before, "spec", key);
    return [];
  }
  const ranges = wantedRanges(spec, core);
  fill(spec, { ipFamilyPolicy: "SingleStack" });
  spec.ipFamilies = ranges.map(({ family }) => (family === 4 ? "IPv4" : "IPv6"));
  const { addresses, causes } =
    spec.clusterIP === "None" ? { addresses: ["None"], causes: [] } : chooseAddresses(spec, ranges, takenByOthers(core, service).addresses);
  spec.clusterIPs = addresses;
  spec.clusterIP = addresses[0];
  return causes;
}

/** One address of each range: the one that was asked for, else a free one. */
function chooseAddresses(spec: JsonObject, ranges: readonly Range[], taken: Taken): { addresses: string[]; causes: Cause[] } {
  const given = asArray(spec.clusterIPs).length > 0 ? asArray(spec.clusterIPs) : [spec.clusterIP];
  const causes: Cause[] = [];
  const addresses = ranges.map((range, index) => {
    const wanted = given[index];
    if (typeof wanted !== "string" || wanted === "") return freeAddress(range, taken);
    const problem = checkAddress(wanted, range, taken, `spec.clusterIPs[${index}]`);
    if (problem) causes.push(problem);
    return wanted;
  });
  return { addresses, causes };
}

/** The ranges of the service's families: one, or both when asked for and there. */
function wantedRanges(spec: JsonObject, core: Core): Range[] {
  const { serviceCidr, serviceCidrV6 } = core.settings;
  const all = [serviceCidr, ...(serviceCidrV6 ? [serviceCidrV6] : [])].map(parseRange);
  const families = asArray(spec.ipFamilies).map((family) => (family === "IPv6" ? 6 : 4));
  const ordered = families.length > 0 ? families.flatMap((family) => all.filter((range) => range.family === family)) : all;
  const dual = spec.ipFamilyPolicy === "PreferDualStack" || spec.ipFamilyPolicy === "RequireDualStack" || families.length > 1;
  if (!dual) return ordered.slice(0, 1);
  return [...ordered, ...all.filter((range) => !ordered.includes(range))].slice(0, 2);
}

function checkAddress(address: string, range: Range, taken: Taken, path: string): Cause | undefined {
  let number: bigint;
  try {
    number = toNumber(address);
  } catch {
    return cause.invalid(path, address, "must be a valid IP address");
  }
  if (number < range.first || number > range.last)
    return cause.invalid(path, address, `failed to allocate IP ${address}: the provided IP is not in the valid range`);
  return taken.has(address)
    ? cause.invalid(path, address, `failed to allocate IP ${address}: provided IP is already allocated`)
    : undefined;
}

/** A random start spreads addresses, as upstream; the lowest ones stay free for services that ask for them. */
function freeAddress(range: Range, taken: Taken): string {
  const size = range.last - range.first;
  const reserved = size > 256n ? 256n : 1n;
  const span = size - reserved;
  const start = BigInt(Math.floor(Math.random() * Number(span > 65_536n ? 65_536n : span)));
  for (let step = 0n; step < span; step++) {
    const address = toAddress(range.first + reserved + ((start + step) % span), range.family);
    if (!taken.has(address)) return address;
  }
  throw new Error("all addresses of the service range are in use");
}

function allocateNodePorts(spec: JsonObject, service: KubeObject, before: KubeObject | undefined, core: Core): Cause[] {
  const ports = items(spec, "ports");
  if (!exposed(spec) || (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts === false)) {
    if (!exposed(spec)) for (const port of ports) delete port.nodePort;
    return [];
  }
  const [low, high] = core.settings.nodePorts;
  const { ports: others } = takenByOthers(core, service);
  const own = new Set<string>();
  const taken = { has: (key: string) => own.has(key) || others.has(key) };
  const causes: Cause[] = [];
  ports.forEach((port, index) => {
    const kept = items(before?.spec, "ports").find((old) => old.port === port.port && old.protocol === port.protocol)?.nodePort;
    const sibling = ports.slice(0, index).find((other) => other.port === port.port && other.protocol !== port.protocol)?.nodePort;
    const free = sibling && !taken.has(portKey(sibling, port.protocol)) ? sibling : undefined;
    port.nodePort = port.nodePort || kept || free || freePort(low, high, taken, port.protocol);
    const value = Number(port.nodePort);
    causes.push(...checkNodePort(`spec.ports[${index}].nodePort`, value, port.protocol, [low, high], taken));
    own.add(portKey(value, port.protocol));
  });
  return causes;
}

/** A load balancer service whose traffic stays on the node has a port where load balancers ask each node for endpoints. */
function allocateHealthCheckPort(spec: JsonObject, service: KubeObject, before: KubeObject | undefined, core: Core): Cause[] {
  const path = "spec.healthCheckNodePort";
  if (spec.type !== "LoadBalancer" || spec.externalTrafficPolicy !== "Local") {
    if (!spec.healthCheckNodePort || before !== undefined) {
      delete spec.healthCheckNodePort;
      return [];
    }
    const needs = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
    return [cause.invalid(path, spec.healthCheckNodePort, needs)];
  }
  const [low, high] = core.settings.nodePorts;
  const { ports: others } = takenByOthers(core, service);
  const own = items(spec, "ports").map(({ nodePort, protocol }) => portKey(nodePort, protocol));
  const taken = { has: (key: string) => own.includes(key) || others.has(key) };
  const kept = asObject(before?.spec).healthCheckNodePort;
  if (kept && spec.healthCheckNodePort && kept !== spec.healthCheckNodePort)
    return [cause.invalid(path, spec.healthCheckNodePort, "field is immutable")];
  spec.healthCheckNodePort = spec.healthCheckNodePort || kept || freePort(low, high, taken, "TCP");
  return checkNodePort(path, Number(spec.healthCheckNodePort), "TCP", [low, high], taken);
}

function checkNodePort(path: string, value: number, protocol: unknown, [low, high]: readonly [number, number], taken: Taken): Cause[] {
  if (value < low || value > high) {
    return [cause.invalid(path, value, `provided port is not in the valid range. The range of valid ports is ${low}-${high}`)];
  }
  return taken.has(portKey(value, protocol)) ? [cause.invalid(path, value, "provided port is already allocated")] : [];
}

function freePort(low: number, high: number, taken: Taken, protocol: unknown): number {
  const size = high - low + 1;
  const start = Math.floor(Math.random() * size);
  for (let step = 0; step < size; step++) {
    const port = low + ((start + step) % size);
    if (!taken.has(portKey(port, protocol))) return port;
  }
  throw new Error("all node ports are in use");
}
