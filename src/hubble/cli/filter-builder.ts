import { create } from "@bufbuild/protobuf";
import { type FlowFilter, FlowFilterSchema } from "#api/gen/flow/flow_pb.ts";
import { parseBoolean, UsageError } from "./args.ts";
import * as values from "./filter-values.ts";

const DEFAULT_NAMESPACE = "default";

/** One end of a filter as it is being built: namespaces are folded into pods and services when it is done. */
interface Side {
  readonly filter: FlowFilter;
  readonly source: Names;
  readonly destination: Names;
}

interface Names {
  readonly namespaces: string[];
  readonly pods: string[];
  readonly services: string[];
  any: boolean;
}

/** Flags that exclude each other: each speaks of the same end. */
const CONFLICTS: readonly (readonly string[])[] = [
  ["from-fqdn", "from-ip", "from-pod", "fqdn", "ip", "pod"],
  ["from-fqdn", "from-ip", "from-namespace", "fqdn", "ip", "namespace"],
  ["to-fqdn", "to-ip", "to-pod", "fqdn", "ip", "pod"],
  ["to-fqdn", "to-ip", "to-namespace", "fqdn", "ip", "namespace"],
  ["to-pod", "namespace"],
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
  ["cluster", "from-cluster"],
  ["cluster", "to-cluster"],
];

type Setter = (side: Side, value: string) => void;
type Both = (filter: FlowFilter, value: string) => void;

const forAll: Readonly<Record<string, Both>> = {
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
  "ip-trace-id": (filter, value) => filter.ipTraceId.push(BigInt(value)),
  "snat-ip": (filter, value) => filter.sourceIpXlated.push(value),
  ipv4: (filter) => filter.ipVersion.push(values.parseIpVersion("v4")),
  ipv6: (filter) => filter.ipVersion.push(values.parseIpVersion("v6")),
  "ip-version": (filter, value) => filter.ipVersion.push(values.parseIpVersion(value)),
  "traffic-direction": (filter, value) => filter.trafficDirection.push(values.parseDirection(value)),
  interface: (filter, value) => filter.interface.push({ $typeName: "flow.NetworkInterface", index: 0, name: value }),
  encrypted: (filter) => filter.encrypted.push(true),
  unencrypted: (filter) => filter.encrypted.push(false),
  reply: (filter, value) => filter.reply.push(parseBoolean("reply", value)),
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
  pod: names((side, value) => side.pods.push(value)),
  service: names((side, value) => side.services.push(value)),
  namespace: names((side, value) => side.namespaces.push(value)),
  "all-namespaces": names((side) => {
    side.any = true;
  }),
};

function ends<T>(source: (filter: FlowFilter) => T[], destination: (filter: FlowFilter) => T[], parse?: (text: string) => T) {
  // Without a parser the values are the texts themselves.
  const read = parse ?? ((text: string) => text as T);
  const setter =
    (of: (filter: FlowFilter) => T[]): Setter =>
    (side, value) =>
      void of(side.filter).push(read(value));
  return { source: setter(source), destination: setter(destination) };
}

function names(set: (names: Names, value: string) => void) {
  return {
    source: (side: Side, value: string) => set(side.source, value),
    destination: (side: Side, value: string) => set(side.destination, value),
  };
}

/** Collects the filter flags of one list, whitelist or blacklist, in upstream's way: two filters, left and right, joined by "or". */
export class FilterBuilder {
  readonly #given = new Set<string>();
  readonly #left = newSide();
  readonly #right = newSide();

  /** Whether the flag is one for a filter. */
  static knows(flag: string): boolean {
    return Object.hasOwn(forAll, flag) || Object.hasOwn(forEnds, bareName(flag));
  }

  /** Adds a flag. Throws UsageError for a bad value and for flags that cannot be combined. */
  add(flag: string, value: string): void {
    this.#checkConflicts(flag);
    const both = Object.hasOwn(forAll, flag) ? forAll[flag] : undefined;
    if (both !== undefined) {
      both(this.#left.filter, value);
      both(this.#right.filter, value);
      return;
    }
    const end = forEnds[bareName(flag)];
    if (end === undefined) throw new UsageError(`unknown filter: --${flag}`);
    const fromOnly = flag.startsWith("from-");
    const toOnly = flag.startsWith("to-");
    if (fromOnly || toOnly) {
      const set = fromOnly ? end.source : end.destination;
      set(this.#left, value);
      set(this.#right, value);
    } else {
      end.source(this.#left, value);
      end.destination(this.#right, value);
    }
  }

  /** The filters; none when no flag was given. Throws UsageError when a pod's namespace contradicts `--namespace`. */
  build(): FlowFilter[] {
    if (this.#given.size === 0) return [];
    const twoSided = [...this.#given].some((flag) => Object.hasOwn(forEnds, flag));
    const filters = (twoSided ? [this.#left, this.#right] : [this.#left]).filter(isPossible).map(finish);
    if (filters.length === 0) throw new UsageError("no flow can match: the namespace of a pod or service is none of --namespace");
    return filters;
  }

  #checkConflicts(flag: string): void {
    for (const group of CONFLICTS) {
      if (!group.includes(flag)) continue;
      const other = group.find((name) => name !== flag && this.#given.has(name));
      if (other !== undefined) throw new UsageError(`filters --${other} and --${flag} cannot be combined`);
    }
    this.#given.add(flag);
  }
}

function bareName(flag: string): string {
  return flag.replace(/^(from|to)-/, "");
}

function newSide(): Side {
  const end = (): Names => ({ namespaces: [], pods: [], services: [], any: false });
  return { filter: create(FlowFilterSchema), source: end(), destination: end() };
}

/** A name with a namespace that the same end excludes can never match: then only the other filter counts. */
function isPossible({ source, destination }: Side): boolean {
  return [source, destination].every(({ namespaces, pods, services }) =>
    [...pods, ...services].every((name) => {
      const slash = name.indexOf("/");
      return slash < 0 || namespaces.length === 0 || namespaces.includes(name.slice(0, slash));
    }),
  );
}

function finish({ filter, source, destination }: Side): FlowFilter {
  const sourceSpaces = namespacesFor(source, destination);
  const destinationSpaces = namespacesFor(destination, source);
  filter.sourcePod.push(...qualify(source.pods, sourceSpaces));
  filter.destinationPod.push(...qualify(destination.pods, destinationSpaces));
  filter.sourceService.push(...qualify(source.services, sourceSpaces));
  filter.destinationService.push(...qualify(destination.services, destinationSpaces));
  // A namespace with no name of anything in it: all its pods.
  if (source.pods.length + source.services.length === 0) filter.sourcePod.push(...source.namespaces.map((name) => `${name}/`));
  if (destination.pods.length + destination.services.length === 0)
    filter.destinationPod.push(...destination.namespaces.map((name) => `${name}/`));
  return filter;
}

/** Where a bare name is looked for: its end's namespaces, else the other end's, else `default`. */
function namespacesFor(own: Names, other: Names): readonly string[] {
  if (own.any) return [""];
  if (own.namespaces.length > 0) return own.namespaces;
  return other.namespaces.length > 0 ? other.namespaces : [DEFAULT_NAMESPACE];
}

function qualify(found: readonly string[], namespaces: readonly string[]): string[] {
  return found.flatMap((name) => (name.includes("/") ? [name] : namespaces.map((namespace) => `${namespace}/${name}`)));
}
