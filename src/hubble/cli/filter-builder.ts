import { create, equals } from "@bufbuild/protobuf";
import { type FlowFilter, FlowFilterSchema } from "#api/gen/flow/flow_pb.ts";
import { UsageError } from "./args.ts";
import * as values from "./filter-values.ts";

/** Flags that exclude each other: each speaks of the same end. Upstream excludes `from-pod` beside `namespace`, too; there it says whose pod it is. */
const CONFLICTS: readonly (readonly string[])[] = [
  ["from-fqdn", "from-ip", "ip", "fqdn", "from-namespace", "namespace", "from-all-namespaces", "all-namespaces"],
  ["from-fqdn", "from-ip", "ip", "fqdn", "from-pod", "pod"],
  ["to-fqdn", "to-ip", "ip", "fqdn", "to-namespace", "namespace", "to-all-namespaces", "all-namespaces"],
  ["to-fqdn", "to-ip", "ip", "fqdn", "to-pod", "pod"],
  ["to-pod", "namespace", "all-namespaces"],
  ["from-pod", "all-namespaces"],
  ["to-service", "namespace", "all-namespaces"],
  ["from-service", "namespace", "all-namespaces"],
  ["label", "from-label"],
  ["label", "to-label"],
  ["service", "from-service"],
  ["service", "to-service"],
  ["port", "from-port"],
  ["port", "to-port"],
  ["identity", "from-identity"],
  ["identity", "to-identity"],
  ["workload", "from-workload"],
  ["workload", "to-workload"],
  ["encrypted", "unencrypted"],
  ["reply", "not-reply"],
];

/** Adds a flag's value to a filter. */
type Setter = (filter: FlowFilter, value: string) => void;

const forAll: Readonly<Record<string, Setter>> = {
  uuid: (filter, value) => filter.uuid.push(value),
  "node-name": (filter, value) => filter.nodeName.push(value),
  "node-label": (filter, value) => filter.nodeLabels.push(value),
  protocol: (filter, value) => filter.protocol.push(value),
  "tcp-flags": (filter, value) => filter.tcpFlags.push(values.parseTcpFlags(value)),
  type: (filter, value) => filter.eventType.push(...values.parseEventType(value)),
  verdict: (filter, value) => filter.verdict.push(values.parseVerdict(value)),
  "drop-reason-desc": (filter, value) => filter.dropReasonDesc.push(values.parseDropReason(value)),
  "http-status": (filter, value) => filter.httpStatusCode.push(value),
  "http-method": (filter, value) => filter.httpMethod.push(value),
  "http-path": (filter, value) => filter.httpPath.push(value),
  "http-url": (filter, value) => filter.httpUrl.push(value),
  "http-header": (filter, value) => filter.httpHeader.push(values.parseHeader(value)),
  "trace-id": (filter, value) => filter.traceId.push(value),
  "ip-trace-id": (filter, value) => filter.ipTraceId.push(values.parseTraceId(value)),
  "snat-ip": (filter, value) => filter.sourceIpXlated.push(value),
  ipv4: (filter) => filter.ipVersion.push(values.parseIpVersion("v4")),
  ipv6: (filter) => filter.ipVersion.push(values.parseIpVersion("v6")),
  "ip-version": (filter, value) => filter.ipVersion.push(values.parseIpVersion(value)),
  "traffic-direction": (filter, value) => filter.trafficDirection.push(values.parseDirection(value)),
  interface: (filter, value) => filter.interface.push({ $typeName: "flow.NetworkInterface", index: 0, name: value }),
  encrypted: (filter) => filter.encrypted.push(true),
  unencrypted: (filter) => filter.encrypted.push(false),
  reply: (filter) => filter.reply.push(true),
  "not-reply": (filter) => filter.reply.push(false),
  "cel-expression": (filter, value) => {
    filter.experimental ??= { $typeName: "flow.FlowFilter.Experimental", celExpression: [] };
    filter.experimental.celExpression.push(value);
  },
};

/** What has a source and a destination: `from-x` and `to-x` set one of them, `x` the one on the left and the other on the right. */
const forEnds: Readonly<Record<string, { readonly source: Setter; readonly destination: Setter }>> = {
  cluster: ends(
    (filter) => filter.sourceClusterName,
    (filter) => filter.destinationClusterName,
  ),
  fqdn: ends(
    (filter) => filter.sourceFqdn,
    (filter) => filter.destinationFqdn,
  ),
  ip: ends(
    (filter) => filter.sourceIp,
    (filter) => filter.destinationIp,
  ),
  label: ends(
    (filter) => filter.sourceLabel,
    (filter) => filter.destinationLabel,
  ),
  port: ends(
    (filter) => filter.sourcePort,
    (filter) => filter.destinationPort,
    values.parsePort,
  ),
  identity: ends(
    (filter) => filter.sourceIdentity,
    (filter) => filter.destinationIdentity,
    values.parseIdentity,
  ),
  workload: ends(
    (filter) => filter.sourceWorkload,
    (filter) => filter.destinationWorkload,
    values.parseWorkload,
  ),
  pod: ends(
    (filter) => filter.sourcePod,
    (filter) => filter.destinationPod,
  ),
  service: ends(
    (filter) => filter.sourceService,
    (filter) => filter.destinationService,
  ),
};

function ends<T>(source: (filter: FlowFilter) => T[], destination: (filter: FlowFilter) => T[], parse?: (text: string) => T) {
  // Without a parser the values are the texts themselves.
  const read = parse ?? ((text: string) => text as T);
  const setter =
    (of: (filter: FlowFilter) => T[]): Setter =>
    (filter, value) =>
      void of(filter).push(read(value));
  return { source: setter(source), destination: setter(destination) };
}

/** Namespaces of pods and services, by the flag without `namespace(s)`; an empty one is every namespace. */
interface Namespaces {
  readonly any: string[];
  readonly source: string[];
  readonly destination: string[];
}

const NAMESPACE_FLAGS: Readonly<Record<string, keyof Namespaces>> = {
  namespace: "any",
  "from-namespace": "source",
  "to-namespace": "destination",
  "all-namespaces": "any",
  "from-all-namespaces": "source",
  "to-all-namespaces": "destination",
};

/** Collects the filter flags of one list, whitelist or blacklist, in upstream's way: two filters, left and right, joined by "or". */
export class FilterBuilder {
  readonly #given = new Set<string>();
  readonly #left = create(FlowFilterSchema);
  readonly #right = create(FlowFilterSchema);
  readonly #namespaces: Namespaces = { any: [], source: [], destination: [] };

  /** Whether the flag is one for a filter. */
  static knows(flag: string): boolean {
    return Object.hasOwn(forAll, flag) || Object.hasOwn(forEnds, bareName(flag)) || Object.hasOwn(NAMESPACE_FLAGS, flag);
  }

  /** Adds a flag. Throws UsageError for a bad value and for flags that cannot be combined. */
  add(flag: string, value: string): void {
    this.#checkConflicts(flag);
    this.#set(flag, value);
    for (const filter of [this.#left, this.#right]) checkNamespaces(this.#namespaces, filter);
  }

  #set(flag: string, value: string): void {
    const namespaces = Object.hasOwn(NAMESPACE_FLAGS, flag) ? NAMESPACE_FLAGS[flag] : undefined;
    if (namespaces !== undefined) {
      this.#namespaces[namespaces].push(flag.endsWith("namespaces") ? "" : value);
      return;
    }
    const both = Object.hasOwn(forAll, flag) ? forAll[flag] : undefined;
    const end = forEnds[bareName(flag)];
    if (both === undefined && end === undefined) throw new UsageError(`unknown filter: --${flag}`);
    const [left, right] = flag.startsWith("to-")
      ? [end?.destination, end?.destination]
      : [end?.source, flag.startsWith("from-") ? end?.source : end?.destination];
    (both ?? left)?.(this.#left, value);
    (both ?? right)?.(this.#right, value);
  }

  /** The filters; none when no flag was given, one when both sides are the same. */
  build(): FlowFilter[] {
    if (this.#given.size === 0) return [];
    const { any, source, destination } = this.#namespaces;
    const filters = [this.#left, this.#right];
    for (const filter of filters) {
      addNamespaces(filter.destinationPod, filter.destinationService, destination);
      addNamespaces(filter.sourcePod, filter.sourceService, source);
    }
    const { sourcePod, sourceService, destinationPod, destinationService } = this.#right;
    addNamespaces(this.#left.sourcePod, this.#left.sourceService, any);
    if (this.#given.has("from-pod")) addNamespaces(sourcePod, sourceService, any);
    else addNamespaces(destinationPod, destinationService, any);
    return equals(FlowFilterSchema, this.#left, this.#right) ? [this.#left] : filters;
  }

  #checkConflicts(flag: string): void {
    for (const group of CONFLICTS) {
      if (!group.includes(flag)) continue;
      const other = group.find((name) => name !== flag && this.#given.has(name));
      if (other !== undefined) {
        const [first, second] = group.indexOf(other) < group.indexOf(flag) ? [other, flag] : [flag, other];
        throw new UsageError(`filters --${first} and --${second} cannot be combined`);
      }
    }
    this.#given.add(flag);
  }
}

function bareName(flag: string): string {
  return flag.replace(/^(from|to)-/, "");
}

/** Puts bare names into the namespaces; where there are no names, all pods of the namespaces. */
function addNamespaces(pods: string[], services: string[], namespaces: readonly string[]): void {
  if (namespaces.length === 0) return;
  if (pods.length + services.length === 0) pods.push("");
  for (const list of [pods, services]) {
    const names = list.flatMap((name) => (name.includes("/") ? [name] : namespaces.map((namespace) => `${namespace}/${name}`)));
    list.splice(0, list.length, ...names);
  }
}

/** Names of one end must be of that end's namespaces, and pods and services of the same. Throws UsageError. */
function checkNamespaces({ any, source, destination }: Namespaces, filter: FlowFilter): void {
  const { sourcePod, sourceService, destinationPod, destinationService } = filter;
  const problems = [
    ...strangers(any, [...sourcePod, ...sourceService, ...destinationPod, ...destinationService]),
    ...strangers(source, [...sourcePod, ...sourceService]),
    ...strangers(destination, [...destinationPod, ...destinationService]),
    ...apart(sourcePod, sourceService),
    ...apart(destinationPod, destinationService),
  ];
  if (problems.length > 0) throw new UsageError(problems.join("\n"));
}

function namespaceOf(name: string): string {
  return name.includes("/") ? name.slice(0, name.indexOf("/")) : "";
}

function strangers(namespaces: readonly string[], names: readonly string[]): string[] {
  return namespaces.flatMap((namespace) =>
    names
      .filter((name) => namespaceOf(name) !== "" && namespaceOf(name) !== namespace)
      .slice(0, 1)
      .map((name) => `namespace conflict: "${namespace}" does not contain "${name}"`),
  );
}

function apart(pods: readonly string[], services: readonly string[]): string[] {
  for (const pod of pods) {
    const namespace = namespaceOf(pod);
    const service = namespace === "" ? undefined : services.find((name) => namespaceOf(name) !== namespace);
    if (service !== undefined) return [`namespace of service "${service}" conflict with pod "${namespace}"`];
  }
  return [];
}
