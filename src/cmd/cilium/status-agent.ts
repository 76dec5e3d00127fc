import { formatDuration, parseDuration, Seconds } from "#types/duration.ts";
import { askLocalAgent } from "./agents.ts";
import { formatOutput, formatTable } from "./output.ts";
import type { AgentStatusShape, ControllerShape, StateShape } from "./shapes.ts";
import { formatKubeProxyReplacement, kubeProxyDetails } from "./status-print.ts";
import { alignTabs } from "./tab-writer.ts";

/** What of the status is written out, upstream's flags of `cilium-dbg status`. */
export interface StatusDetails {
  readonly allAddresses?: boolean;
  readonly allControllers?: boolean;
  readonly allRedirects?: boolean;
  readonly verbose?: boolean;
}

/** `status` in an agent's pod: the text, and whether the agent is well. */
export interface AgentStatusText {
  readonly text: string;
  readonly healthy: boolean;
}

/** Upstream's lines, those that this agent has something to say about; in one line with `brief`. */
export async function agentStatusText(
  options: StatusDetails & { readonly output?: string; readonly brief?: boolean },
): Promise<AgentStatusText> {
  const status = (await askLocalAgent("GET", "/v1/healthz")) as AgentStatusShape;
  const healthy = isWell(status.cilium);
  if (options.output) return { text: await formatOutput(options.output, status), healthy: true };
  if (options.brief) return { text: `${briefOf(status)}\n`, healthy };
  const everything = { allAddresses: true, allControllers: true, allRedirects: true, verbose: true };
  return { text: formatAgentStatus(status, options.verbose ? everything : options, new Date()), healthy };
}

/** The status as text. `now` is what times are told from. */
export function formatAgentStatus(status: AgentStatusShape, details: StatusDetails, now: Date): string {
  const lines = linesOf(status, details, now).flatMap((line) => (line === undefined ? [] : line));
  const all = [...alignTabs(lines, { least: 2 }), ...(details.verbose ? kubeProxyDetails(status) : [])];
  return all.map((line) => `${line.trimEnd()}\n`).join("");
}

type Lines = (string | readonly string[] | undefined)[];

function linesOf(status: AgentStatusShape, details: StatusDetails, now: Date): Lines {
  const { proxy, ipam, routing } = status;
  const range = status["identity-range"];
  return [
    ...stateLines(status),
    ipam && `IPAM:\t${ipam.status}`,
    details.allAddresses ? addressLines(ipam?.allocations ?? {}) : undefined,
    routing && `Routing:\tNetwork: ${routing.mode}\tHost: ${routing["intra-host-routing-mode"]}`,
    `Attach Mode:\t${status["attach-mode"] === "tcx" ? "TCX" : "Legacy TC"}`,
    `Device Mode:\t${status["datapath-mode"] ?? "veth"}`,
    controllerLines(status.controllers ?? [], details.allControllers === true, now),
    proxy && proxyLines(proxy, details.allRedirects === true),
    `Kernel HTTP:\t${formatKernelHttp(status["kernel-http"])}`,
    range && `Global Identity Range:\tmin ${range["min-identity"]}, max ${range["max-identity"]}`,
    hubbleLine(status),
    `Encryption:\t${status.encryption?.mode ?? "Disabled"}\t${status.encryption?.msg ?? ""}`,
  ];
}

function stateLines(status: AgentStatusShape): Lines {
  const { kubernetes, stale } = status;
  const apis = kubernetes?.["k8s-api-versions"]?.toSorted().map((api) => JSON.stringify(api));
  const failing = stale && Object.entries(stale).map(([name, since]) => `${JSON.stringify(name)} since ${since}`);
  return [
    kubernetes && `Kubernetes:\t${kubernetes.state ?? ""}\t${kubernetes.msg ?? ""}`,
    apis && `Kubernetes APIs:\t[${apis.join(", ")}]`,
    `KubeProxyReplacement:\t${formatKubeProxyReplacement(status).replace("   ", "\t")}`,
    status["cni-chaining"] && `CNI Chaining:\t${status["cni-chaining"].mode}`,
    status["cni-file"] && `CNI Config file:\t${status["cni-file"].msg}`,
    status.cilium && `Cilium:\t${status.cilium.state ?? ""}   ${status.cilium.msg ?? ""}`,
    failing && `Stale status:\t${failing.join(", ")}`,
    monitorLines(status.nodeMonitor),
  ];
}

function monitorLines(monitor: AgentStatusShape["nodeMonitor"]): string[] {
  if (!monitor) return ["NodeMonitor:\tDisabled"];
  const { cpus, npages, pagesize, lost } = monitor;
  const lines = [`NodeMonitor:\tListening for events on ${cpus} CPUs with ${npages}x${pagesize} of shared memory`];
  return lost > 0 ? [...lines, `\t${lost} events lost, 0 unknown notifications`] : lines;
}

function addressLines(allocations: Readonly<Record<string, string>>): string[] {
  return ["Allocated addresses:", ...Object.entries(allocations).map(([ip, owner]) => `  ${ip} (${owner})`)];
}

function proxyLines(proxy: NonNullable<AgentStatusShape["proxy"]>, allRedirects: boolean): string[] {
  const state = proxy.connected === false ? "not connected" : "OK";
  const count = proxy["total-redirects"] ?? 0;
  const head = `Proxy Status:\t${state}, ip ${proxy.ip}, ${count} redirects active on ports ${proxy["port-range"]}, Envoy: ${proxy["envoy-deployment-mode"]}`;
  if (!allRedirects || !proxy.redirects?.length) return [head];
  const rows = proxy.redirects.map((one) => [`  ${one.proxy}`, one.name, String(one["proxy-port"])]);
  return [head, ...tableLines(["  Protocol", "Redirect", "Proxy Port"], rows)];
}

function hubbleLine(status: AgentStatusShape): string | undefined {
  const { hubble } = status;
  if (!hubble) return undefined;
  const { "current-flows": current = 0, "max-flows": most = 0, "seen-flows": seen = 0, uptime } = hubble.observer ?? {};
  const seconds = (parseDuration(uptime ?? "0") ?? 0) / 1000;
  const flows = [
    ...(most > 0 ? [`Current/Max Flows: ${current}/${most} (${((current / most) * 100).toFixed(2)}%)`] : []),
    ...(seconds > 0 ? [`Flows/s: ${(seen / seconds).toFixed(2)}`] : []),
  ];
  const metrics = status["hubble-metrics"];
  const fields = [
    hubble.msg ? `${hubble.state} ${hubble.msg}` : (hubble.state ?? ""),
    ...(hubble.observer ? [flows.join(", ")] : []),
    ...(metrics ? [`Metrics: ${metrics.msg ? `${metrics.state} (${metrics.msg})` : metrics.state}`] : []),
  ];
  return `Hubble:\t${fields.join("\t")}`;
}

function formatKernelHttp(found: AgentStatusShape["kernel-http"]): string {
  const { state = "Disabled", ports = 0, connections, requests } = found ?? {};
  if (connections === undefined || requests === undefined) return state;
  const { active, taken, refused } = connections;
  const parts = [
    `${ports} ports`,
    `connections: ${active} open of ${taken}, ${connections["handed-to-proxy"]} handed to the proxy, ${refused} refused`,
    `requests: ${requests.forwarded} forwarded, ${requests.denied} denied`,
  ];
  return `${state}\t${parts.join("; ")}`;
}

function controllerLines(controllers: readonly ControllerShape[], all: boolean, now: Date): string[] {
  const shown = controllers.filter((one) => all || isFailing(one));
  const healthy = controllers.filter((one) => !isFailing(one)).length;
  const head = `Controller Status:\t${healthy}/${controllers.length} healthy`;
  if (shown.length === 0) return [head];
  const rows = shown.map(({ name, status = {} }) => [
    `  ${name}`,
    sinceText(status["last-success-timestamp"], now),
    sinceText(status["last-failure-timestamp"], now),
    String(status["consecutive-failure-count"] ?? 0),
    status["last-failure-msg"] || "no error",
  ]);
  return [head, ...tableLines(["  Name", "Last success", "Last error", "Count", "Message"], rows)];
}

/** Lines that take no part in the alignment around them. */
function tableLines(headings: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return formatTable(headings, rows).trimEnd().split("\n");
}

function sinceText(timestamp: string | undefined, now: Date): string {
  if (timestamp === undefined) return "never";
  const seconds = Math.max(0, Math.trunc((now.getTime() - Date.parse(timestamp)) / 1000));
  return `${formatDuration(Seconds(seconds))} ago`;
}

function isFailing({ status }: ControllerShape): boolean {
  return (status?.["consecutive-failure-count"] ?? 0) > 0;
}

function isWell(state: StateShape | undefined): boolean {
  return state?.state === "Ok" || state?.state === "Disabled";
}

/** `OK`, or what is wrong first. */
function briefOf(status: AgentStatusShape): string {
  const { kubernetes, cilium } = status;
  if (kubernetes && !isWell(kubernetes)) return `error in kubernetes: ${kubernetes.msg ?? ""}`;
  if (cilium && !isWell(cilium)) return `error in cilium: ${cilium.msg ?? ""}`;
  const failed = status.controllers?.find((one) => one.status?.["last-failure-msg"]);
  return failed ? `error in controller ${failed.name}: ${failed.status?.["last-failure-msg"]}` : "OK";
}
