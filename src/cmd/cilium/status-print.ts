import type { AgentStatusShape } from "./shapes.ts";
import type { ClusterStatus, Component } from "./status-cluster.ts";

const PAINT = { OK: "\u001b[32m", disabled: "\u001b[36m", errors: "\u001b[31m", off: "\u001b[0m" } as const;

/** The text of `cilium status`: the logo table, the workloads, and the agents' own lines. */
export function formatClusterStatus(
  status: ClusterStatus,
  agent: AgentStatusShape | undefined,
  options: { readonly colour: boolean; readonly verbose: boolean },
): string {
  const paint = (word: string) => {
    if (!options.colour) return word;
    return `${word === "OK" ? PAINT.OK : word === "disabled" ? PAINT.disabled : PAINT.errors}${word}${PAINT.off}`;
  };
  const word = (name: string) => paint(wordOf(status, name));
  const logo = [
    "    /¯¯\\",
    ` /¯¯\\__/¯¯\\    Cilium:             ${word("cilium")}`,
    ` \\__/¯¯\\__/    Operator:           ${word("cilium-operator")}`,
    ` /¯¯\\__/¯¯\\    Envoy DaemonSet:    ${word("cilium-envoy")}`,
    ` \\__/¯¯\\__/    Hubble Relay:       ${word("hubble-relay")}`,
    `    \\__/       ClusterMesh:        ${paint("disabled")}`,
  ];
  const lines = [...logo, "", ...tableLines(status), ...(agent ? ["", ...agentLines(agent, options.verbose)] : [])];
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

function wordOf(status: ClusterStatus, name: string): string {
  if (name !== "cilium" && !status.components.some((component) => component.name === name)) return "disabled";
  const restarting = status.restarting[name] ?? 0;
  if (restarting > 0) return `${restarting} restarting`;
  const errors = status.errors[name]?.length ?? 0;
  return errors === 0 ? "OK" : `${errors} error${errors > 1 ? "s" : ""}`;
}

function tableLines(status: ClusterStatus): string[] {
  const rows: string[][] = status.components.map((one) => [one.kind, one.name, formatCounts(one)]);
  const addGroup = (title: string, groups: readonly (readonly [string, string])[]) => {
    for (const [index, [name, text]] of groups.entries()) rows.push([index === 0 ? title : "", name, text]);
  };
  addGroup(
    "Containers:",
    Object.entries(status.phases).flatMap(([name, phases]) =>
      Object.entries(phases).map(([phase, count]) => [name, `${phase}: ${count}`] as const),
    ),
  );
  rows.push(["Cluster Pods:", `${status.pods.byCilium}/${status.pods.all} managed by Cilium`, ""]);
  addGroup(
    "Image versions",
    Object.entries(status.images).flatMap(([name, images]) =>
      Object.entries(images).map(([image, count]) => [name, `${image}: ${count}`] as const),
    ),
  );
  addGroup(
    "Errors:",
    Object.entries(status.errors).flatMap(([name, errors]) => errors.map((error) => [name, error] as const)),
  );
  addGroup(
    "Warnings:",
    Object.entries(status.warnings).flatMap(([name, warnings]) => warnings.map((warning) => [name, warning] as const)),
  );
  const width = (column: number) => Math.max(...rows.filter((row) => row[2] !== "").map((row) => (row[column] ?? "").length)) + 4;
  const widths = [width(0), width(1)];
  return rows.map(([first = "", second = "", third = ""]) => `${first.padEnd(widths[0] ?? 0)}${second.padEnd(widths[1] ?? 0)}${third}`);
}

function formatCounts({ desired, ready, available }: Component): string {
  return `Desired: ${desired}, Ready: ${ready}/${desired}, Available: ${available}/${desired}`;
}

/** The lines that the guides look for in `cilium status` of the workstation, upstream's texts. */
export function agentLines(status: AgentStatusShape, verbose: boolean): string[] {
  const lines = [
    `KubeProxyReplacement:    ${formatKubeProxyReplacement(status)}`,
    `Routing:                 Network: ${status.routing?.mode ?? "Native"}   Host: ${status.routing?.["intra-host-routing-mode"] ?? "BPF"}`,
    `Encryption:              ${status.encryption?.msg || status.encryption?.mode || "Disabled"}`,
  ];
  return verbose ? [...lines, ...kubeProxyDetails(status)] : lines;
}

export function formatKubeProxyReplacement(status: AgentStatusShape): string {
  const replacement = status["kube-proxy-replacement"];
  const devices = (replacement?.deviceList ?? []).map(({ name, ip }) =>
    `${name} ${[ip ?? []].flat().join(" ")} (Direct Routing)`.replaceAll(/ +/g, " "),
  );
  if (replacement?.mode !== "True") return `False   ${replacement?.msg ? `(${replacement.msg})` : ""}`.trimEnd();
  return `True${devices.length > 0 ? `   [${devices.join(", ")}]` : ""}`;
}

/** Upstream's `KubeProxyReplacement Details`. */
export function kubeProxyDetails(status: AgentStatusShape): string[] {
  const { mode = "False", devices = [], features } = status["kube-proxy-replacement"] ?? {};
  const word = (on: boolean | undefined) => (on ? "Enabled" : "Disabled");
  const { nodePort } = features ?? {};
  const selection = nodePort?.algorithm === "Maglev" ? `Maglev (Table Size: ${nodePort.lutSize})` : "Random";
  return [
    "KubeProxyReplacement Details:",
    `  Status:                ${mode}`,
    `  Socket LB:             ${word(features?.socketLB?.enabled)}`,
    "  Socket LB Tracing:     Enabled",
    `  Socket LB Coverage:    ${features?.bpfSocketLBHostnsOnly ? "Hostns-only" : "Full"}`,
    `  Devices:               ${devices.join(", ")}`,
    `  Mode:                  ${nodePort?.mode ?? "SNAT"}`,
    ...(nodePort?.dsrMode ? [`    DSR Dispatch Mode:   ${nodePort.dsrMode}`] : []),
    `  Backend Selection:     ${selection}`,
    `  Session Affinity:      ${word(features?.sessionAffinity?.enabled)}`,
    `  Graceful Termination:  ${word(features?.gracefulTermination?.enabled)}`,
    "  NAT46/64 Support:      Disabled",
    `  XDP Acceleration:      ${nodePort?.acceleration ?? "Disabled"}`,
    "  Services:",
    `  - ClusterIP:           ${word(true)}`,
    `  - NodePort:            ${word(nodePort?.enabled)} (Range: ${nodePort?.portMin ?? 30_000}-${nodePort?.portMax ?? 32_767})`,
    `  - LoadBalancer:        ${word(nodePort?.enabled)}`,
    `  - externalIPs:         ${word(features?.externalIPs?.enabled)}`,
    `  - HostPort:            ${word(features?.hostPort?.enabled)}`,
  ];
}
