import { execFile } from "node:child_process";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { paths } from "../paths.ts";
import { agentRoots } from "./agents.ts";
import type { Probe, ProbeName } from "./steps.ts";
import type { Reasons } from "./table.ts";

const run = promisify(execFile);

interface PolicyRef {
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
}

/** The fields of `hubble observe -o json` that tell why. */
export interface DeniedFlow {
  readonly source?: { readonly pod_name?: string };
  readonly destination?: { readonly pod_name?: string; readonly namespace?: string };
  readonly l4?: { readonly TCP?: { readonly destination_port?: number }; readonly UDP?: { readonly destination_port?: number } };
  readonly l7?: { readonly http?: { readonly method?: string } };
  readonly traffic_direction?: string;
  readonly drop_reason_desc?: string;
  readonly ingress_denied_by?: readonly PolicyRef[];
  readonly egress_denied_by?: readonly PolicyRef[];
  /** Our own addition to a flow: what decided, and what came nearest. */
  readonly extensions?: { readonly lines?: readonly string[]; readonly nearest?: readonly NearMiss[] };
}

interface NearMiss {
  readonly rule?: PolicyRef & { readonly index?: number };
  readonly reasons?: readonly string[];
}

const PATIENCE_MS = 2_000;

/** For each denied probe, the policy that decided as Hubble recorded it. What Hubble does not show in time is said to be missing. */
export async function explainDenials(probes: readonly Probe[], pods: ReadonlyMap<string, string>, since: Date): Promise<Reasons> {
  const deadline = Date.now() + PATIENCE_MS;
  const roots = await agentRoots();
  for (;;) {
    const flows = await deniedFlows(roots, since);
    const reasons = Object.fromEntries(probes.flatMap((probe) => reasonOf(probe, pods, flows))) as Reasons;
    if (Object.keys(reasons).length === probes.length) return reasons;
    if (Date.now() > deadline) return { ...Object.fromEntries(probes.map(({ name }) => [name, "Hubble shows no flow"])), ...reasons };
    await delay(100);
  }
}

function reasonOf(probe: Probe, pods: ReadonlyMap<string, string>, flows: readonly DeniedFlow[]): [ProbeName, string][] {
  const pod = pods.get(`${probe.from.namespace}/${probe.from.app}`);
  const own = flows.filter((flow) => flow.source?.pod_name === pod && concerns(probe, flow));
  // The verdict that names its policies says most; of equal ones the first.
  const best = own.find((flow) => policiesOf(flow).length > 0) ?? own[0];
  return best ? [[probe.name, describe(best)]] : [];
}

function concerns(probe: Probe, flow: DeniedFlow): boolean {
  const dns = flow.l4?.UDP?.destination_port === 53;
  if (probe.name === "dns") return dns;
  if (probe.name === "get" || probe.name === "post") return dns || flow.destination?.namespace === "demo";
  return !dns || probe.name === "attacker";
}

function policiesOf(flow: DeniedFlow): readonly PolicyRef[] {
  return [...(flow.ingress_denied_by ?? []), ...(flow.egress_denied_by ?? [])];
}

function describe(flow: DeniedFlow): string {
  const port = flow.l4?.TCP?.destination_port ?? flow.l4?.UDP?.destination_port;
  const what = flow.l7?.http?.method
    ? `HTTP ${flow.l7.http.method} refused`
    : `${(flow.traffic_direction ?? "").toLowerCase()} to port ${port}`;
  const names = [...new Set(policiesOf(flow).map(({ namespace, name }) => (namespace ? `${namespace}/${name}` : (name ?? ""))))].join(", ");
  const nearest = formatNearest(flow.extensions?.nearest?.[0]);
  const line = flow.extensions?.lines?.[0]?.replace(/^.*?: /, "").replaceAll(/Cilium(Clusterwide)?NetworkPolicy /g, "");
  if (line === undefined) return `${what}: ${names ? `denied by ${names}` : (flow.drop_reason_desc ?? "no policy allows it")}`;
  return `${what}: ${line}${names === "" || policiesOf(flow).some(({ name = "" }) => line.includes(name)) ? "" : `: ${names}`}${nearest}`;
}

/** The rule that came nearest to allowing it; rule 0 is not written into JSON. */
function formatNearest(miss: NearMiss | undefined): string {
  if (!miss?.rule) return "";
  const { namespace, name, index = 0 } = miss.rule;
  return `; nearest is ${namespace ? `${namespace}/` : ""}${name} rule ${index}: ${(miss.reasons ?? []).join("; ")}`;
}

async function deniedFlows(roots: readonly string[], since: Date): Promise<DeniedFlow[]> {
  const lists = await Promise.all(roots.map((root) => observe(`unix://${join(root, "run/cilium/hubble.sock")}`, since).catch(() => [])));
  return lists.flat();
}

async function observe(server: string, since: Date): Promise<DeniedFlow[]> {
  const args = ["observe", "--server", server, "--verdict", "DROPPED", "--since", since.toISOString(), "-o", "json"];
  const { stdout } = await run(join(paths.bin, "hubble"), args, { maxBuffer: 32 * 1024 * 1024 });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .flatMap((line) => {
      const { flow } = JSON.parse(line) as { readonly flow?: DeniedFlow };
      return flow ? [flow] : [];
    });
}
