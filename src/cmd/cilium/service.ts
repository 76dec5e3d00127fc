import { CodedError } from "#runtime/errors.ts";
import { type AskOptions, askAgents } from "./agents.ts";
import type { Layout } from "./endpoint.ts";
import { formatOutput, formatTable } from "./output.ts";
import type { ServiceAddressShape, ServiceShape } from "./shapes.ts";

export class ServiceError extends CodedError {}

type ServiceOptions = AskOptions & { readonly output?: string; readonly layout: Layout };

/** `service list`: frontends and what is behind them, as one agent programs them (all agents program the same). */
export async function serviceList(options: ServiceOptions): Promise<string> {
  const services = await askServices(options);
  if (options.output) return formatOutput(options.output, services);
  return formatServices(services);
}

/** `service get`: rejects with `ServiceError` when there is none. */
export async function serviceGet(wanted: string, options: ServiceOptions): Promise<string> {
  const services = await askServices(options);
  const found = services.filter((one) => namesOf(one).includes(wanted));
  if (found.length === 0) throw new ServiceError("not-found", `there is no service "${wanted}": cilium service list shows those there are`);
  if (options.output) return formatOutput(options.output, found);
  return `${formatServices(found)}\n${formatTable([], found.flatMap(detailsOf))}`;
}

async function askServices(options: ServiceOptions): Promise<ServiceShape[]> {
  const [answer] = await askAgents<ServiceShape[]>("/v1/service", options);
  return (answer?.value ?? []).toSorted((a, b) => a.spec.id - b.spec.id);
}

function namesOf({ spec }: ServiceShape): string[] {
  const address = spec["frontend-address"];
  const short = format({ ip: address.ip, port: address.port });
  return [String(spec.id), `${spec.flags?.namespace}/${spec.flags?.name}`, short, format(address)];
}

function formatServices(services: readonly ServiceShape[]): string {
  const rows = services.flatMap(({ spec }) => {
    const backends = (spec["backend-addresses"] ?? []).map(
      (backend, index) => `${index + 1} => ${format(backend)} (${backend.state ?? "active"})`,
    );
    const first = [String(spec.id), format(spec["frontend-address"]), spec.flags?.type ?? "", backends[0] ?? ""];
    return [first, ...backends.slice(1).map((backend) => ["", "", "", backend])];
  });
  return formatTable(["ID", "Frontend", "Service Type", "Backend"], rows);
}

function detailsOf({ spec }: ServiceShape): string[][] {
  const { flags = {} } = spec;
  const rows: [string, unknown][] = [
    [`${spec.id}  service`, `${flags.namespace}/${flags.name}${flags.portName ? ` port ${flags.portName}` : ""}`],
    ["   traffic policy", `external ${flags.extTrafficPolicy}, internal ${flags.intTrafficPolicy}`],
    ["   session affinity", flags.sessionAffinityTimeout === undefined ? undefined : `${flags.sessionAffinityTimeout} s`],
    ["   source ranges", flags.sourceRanges && `${flags.denySourceRanges ? "not " : ""}${flags.sourceRanges.join(", ")}`],
    ["   algorithm", flags.algorithm],
    ["   forwarding mode", flags.forwardingMode],
  ];
  return rows.flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
}

function format({ ip, port, protocol }: ServiceAddressShape): string {
  const host = ip.includes(":") ? `[${ip}]` : ip;
  return `${host}:${port}${protocol ? `/${protocol.toUpperCase()}` : ""}`;
}

interface ServiceRowShape {
  readonly name: { readonly namespace: string; readonly name: string };
  readonly problems: readonly string[];
}

/** `service list --problems`: a line for each problem. */
export async function serviceProblems(options: ServiceOptions): Promise<string> {
  const [answer] = await askAgents<ServiceRowShape[]>("/v1/service/problems", options);
  const services = answer?.value ?? [];
  if (options.output) return formatOutput(options.output, services);
  const rows = services.flatMap(({ name, problems }) => problems.map((problem) => [`${name.namespace}/${name.name}`, problem]));
  return rows.length === 0 ? "every service can be used as it is\n" : formatTable(["Service", "Problem"], rows);
}

interface RedirectShape {
  readonly name: { readonly namespace: string; readonly name: string };
  readonly frontends: readonly ServiceAddressShape[];
  readonly problem: string;
}

/** `lrp list`: local redirect policies, node by node. */
export async function redirectList(options: ServiceOptions): Promise<string> {
  const answers = await askAgents<RedirectShape[]>("/v1/lrp", options);
  if (options.output) return formatOutput(options.output, answers);
  const rows = answers.flatMap(({ node, value }) =>
    value.map(({ name, frontends, problem }) => [
      node,
      `${name.namespace}/${name.name}`,
      frontends.map(format).join(", ") || "-",
      problem || "-",
    ]),
  );
  return formatTable(["Node", "Policy", "Redirected", "Problem"], rows);
}
