import { CodedError } from "#runtime/errors.ts";
import { type AskOptions, askAgents } from "./agents.ts";
import type { Layout } from "./endpoint.ts";
import { formatOutput, formatTable } from "./output.ts";
import type { ServiceAddressShape, ServiceShape } from "./shapes.ts";

export class ServiceError extends CodedError {}

type ServiceOptions = AskOptions & { readonly output?: string; readonly layout: Layout };

/** What agents know of services; the rows of one of them, as all program the same but for local redirects. */
interface Services {
  readonly rows: readonly ServiceShape[];
  /** Which policy redirects a frontend, and on which nodes, by the frontend's text. */
  readonly redirects: ReadonlyMap<string, Redirects>;
}

interface Redirects {
  readonly policy: string;
  readonly nodes: string[];
}

/** `service list`: frontends and what is behind them. */
export async function serviceList(options: ServiceOptions): Promise<string> {
  const services = await askServices(options);
  if (options.output) return formatOutput(options.output, services.rows);
  return formatServices(services);
}

/** `service get`: rejects with `ServiceError` when there is none. */
export async function serviceGet(wanted: string, options: ServiceOptions): Promise<string> {
  const { rows, redirects } = await askServices(options);
  const found = rows.filter((one) => namesOf(one).includes(wanted));
  if (found.length === 0) throw new ServiceError("not-found", `there is no service "${wanted}": cilium service list shows those there are`);
  if (options.output) return formatOutput(options.output, found);
  return `${formatServices({ rows: found, redirects })}\n${formatDetails({ rows: found, redirects })}`;
}

async function askServices(options: ServiceOptions): Promise<Services> {
  const answers = await askAgents<ServiceShape[]>("/v1/service", options);
  const redirects = new Map<string, Redirects>();
  const rows = [...(answers[0]?.value ?? [])].sort((a, b) => a.spec.id - b.spec.id);
  const known = new Set(rows.map(({ spec }) => format(spec["frontend-address"])));
  for (const { node, value } of answers) {
    for (const service of value.filter(({ spec }) => isRedirect(spec))) {
      const address = format(service.spec["frontend-address"]);
      const { nodes } = redirects.get(address) ?? { nodes: [] };
      redirects.set(address, { policy: ownName(service.spec), nodes: [...nodes, node] });
      // An address that is a service only where it is redirected.
      if (!known.has(address)) rows.push(service);
      known.add(address);
    }
  }
  return { rows, redirects };
}

function namesOf({ spec }: ServiceShape): string[] {
  const address = spec["frontend-address"];
  const short = format({ ip: address.ip, port: address.port });
  const redirected = spec.flags?.redirectedService;
  return [String(spec.id), ownName(spec), short, format(address), ...(redirected === undefined ? [] : [redirected])];
}

function ownName({ flags = {} }: ServiceShape["spec"]): string {
  return `${flags.namespace}/${flags.name}`;
}

function isRedirect({ flags }: ServiceShape["spec"]): boolean {
  return flags?.type === "LocalRedirect";
}

/** The Service's name, or that of the policy whose address it is. */
function nameOf(spec: ServiceShape["spec"]): string {
  return spec.flags?.redirectedService ?? ownName(spec);
}

/** `CiliumLocalRedirectPolicy shop/cache on worker, worker2`; undefined when nobody redirects it. */
function redirectOf(spec: ServiceShape["spec"], redirects: Services["redirects"]): string | undefined {
  const found = redirects.get(format(spec["frontend-address"]));
  return found && `CiliumLocalRedirectPolicy ${found.policy} on ${found.nodes.join(", ") || "this node"}`;
}

/** Upstream's columns, and behind them whose address it is. */
function formatServices({ rows, redirects }: Services): string {
  const cells = rows.flatMap(({ spec }) => {
    const backends = (spec["backend-addresses"] ?? []).map(
      (backend, index) => `${index + 1} => ${format(backend)} (${backend.state ?? "active"})`,
    );
    const redirect = redirectOf(spec, redirects);
    const name = `${nameOf(spec)}${redirect === undefined ? "" : `, redirected by ${redirect}`}`;
    const first = [String(spec.id), format(spec["frontend-address"]), spec.flags?.type ?? "", backends[0] ?? "", name];
    return [first, ...backends.slice(1).map((backend) => ["", "", "", backend, ""])];
  });
  return formatTable(["ID", "Frontend", "Service Type", "Backend", "Name"], cells);
}

/** What holds for the frontends, said once for all of which the same is to be said. */
function formatDetails({ rows, redirects }: Services): string {
  const details = rows.map(({ spec }) => ({ id: spec.id, lines: detailsOf(spec, redirectOf(spec, redirects)) }));
  const groups = Map.groupBy(details, ({ lines }) => JSON.stringify(lines));
  const cells = [...groups.values()].flatMap((group) => {
    const ids = group.map(({ id }) => id).join(", ");
    return (group[0]?.lines ?? []).map(([name, value], row) => [row === 0 ? ids : "", name, value]);
  });
  return formatTable([], cells);
}

function detailsOf(spec: ServiceShape["spec"], redirect: string | undefined): [string, string][] {
  const { flags = {} } = spec;
  const rows: [string, unknown][] = [
    ["service", `${nameOf(spec)}${flags.portName ? ` port ${flags.portName}` : ""}`],
    ["redirected by", redirect],
    ["traffic policy", `external ${flags.extTrafficPolicy}, internal ${flags.intTrafficPolicy}`],
    ["session affinity", flags.sessionAffinityTimeout === undefined ? undefined : `${flags.sessionAffinityTimeout} s`],
    ["source ranges", flags.sourceRanges && `${flags.denySourceRanges ? "not " : ""}${flags.sourceRanges.join(", ")}`],
    ["algorithm", flags.algorithm],
    ["forwarding mode", flags.forwardingMode],
  ];
  return rows.flatMap(([name, value]): [string, string][] => (value === undefined ? [] : [[name, String(value)]]));
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
