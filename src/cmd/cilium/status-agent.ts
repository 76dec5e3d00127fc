import { askLocalAgent } from "./agents.ts";
import { formatOutput } from "./output.ts";
import type { AgentStatusShape, ControllerShape } from "./shapes.ts";
import { formatKubeProxyReplacement, kubeProxyDetails } from "./status-print.ts";

/** `status` in an agent's pod: upstream's lines, those that this agent has something to say about. */
export async function agentStatusText(options: { readonly output?: string; readonly verbose: boolean }): Promise<string> {
  const status = (await askLocalAgent("GET", "/v1/healthz")) as AgentStatusShape;
  if (options.output) return formatOutput(options.output, status);
  const rows = linesOf(status).filter((row): row is [string, string] => row[1] !== undefined);
  const width = Math.max(...rows.map(([name]) => name.length)) + 3;
  const lines = rows.map(([name, text]) => `${name.padEnd(width)}${text}`.trimEnd());
  const failing = { ...status, controllers: status.controllers?.filter(isFailing) ?? [] };
  const details = options.verbose ? [...kubeProxyDetails(status), ...controllerLines(status)] : controllerLines(failing);
  return [...lines, ...details].map((line) => `${line}\n`).join("");
}

function linesOf(status: AgentStatusShape): [string, string | undefined][] {
  const state = (part: { state?: string; msg?: string } | undefined) => part && `${part.state ?? ""}   ${part.msg ?? ""}`.trim();
  const controllers = status.controllers ?? [];
  const healthy = controllers.filter((one) => !isFailing(one)).length;
  const { proxy, hubble } = status;
  const range = status["identity-range"];
  const observer = hubble?.observer;
  const flows = observer && `Current/Max Flows: ${observer["current-flows"] ?? 0}/${observer["max-flows"] ?? 0}`;
  return [
    ["Kubernetes:", state(status.kubernetes)],
    ["Kubernetes APIs:", status.kubernetes?.["k8s-api-versions"] && JSON.stringify(status.kubernetes["k8s-api-versions"])],
    ["KubeProxyReplacement:", formatKubeProxyReplacement(status)],
    ["CNI Chaining:", status["cni-chaining"]?.mode],
    ["CNI Config file:", status["cni-file"]?.msg],
    ["Cilium:", state(status.cilium)],
    ["IPAM:", status.ipam?.status],
    ["Routing:", status.routing && `Network: ${status.routing.mode}   Host: ${status.routing["intra-host-routing-mode"]}`],
    ["Attach Mode:", "TCX"],
    ["Device Mode:", "veth"],
    ["Controller Status:", `${healthy}/${controllers.length} healthy`],
    [
      "Proxy Status:",
      proxy &&
        `${proxy.connected === false ? "not connected" : "OK"}, ${proxy["total-redirects"] ?? 0} redirects active on ports ${proxy["port-range"] ?? "?"}, Envoy: ${proxy["envoy-deployment-mode"] ?? "external"}`,
    ],
    ["Kernel HTTP:", formatKernelHttp(status["kernel-http"])],
    ["Global Identity Range:", range && `min ${range["min-identity"]}, max ${range["max-identity"]}`],
    ["Hubble:", hubble && `${hubble.state ?? ""}   ${[flows, hubble.msg].filter(Boolean).join("   ")}`],
    ["Encryption:", status.encryption?.msg || status.encryption?.mode],
  ];
}

function formatKernelHttp(found: AgentStatusShape["kernel-http"]): string | undefined {
  const { state, ports = 0, connections, requests } = found ?? {};
  if (connections === undefined || requests === undefined) return state;
  const { active, taken, refused } = connections;
  const parts = [
    `${ports} ports`,
    `connections: ${active} open of ${taken}, ${connections["handed-to-proxy"]} handed to the proxy, ${refused} refused`,
    `requests: ${requests.forwarded} forwarded, ${requests.denied} denied`,
  ];
  return `${state}   ${parts.join("; ")}`;
}

function isFailing({ status }: ControllerShape): boolean {
  return (status?.["consecutive-failure-count"] ?? 0) > 0;
}

function controllerLines(status: AgentStatusShape): string[] {
  const lines = (status.controllers ?? []).map(({ name, status: counts = {} }) => {
    const failing = counts["consecutive-failure-count"] ?? 0;
    return `  ${failing > 0 ? "✗" : "✓"} ${name}${failing > 0 ? `: failed ${failing} times, last: ${counts["last-failure-msg"] ?? ""}` : ""}`;
  });
  return lines.length > 0 ? ["Controllers:", ...lines] : [];
}
