import type { LabReport } from "./control.ts";

/** Rows as aligned columns, with a heading. */
export function formatColumns(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [heading, ...rows];
  const widths = heading.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** `cilium lab status` as text. */
export function formatReport(report: LabReport): string {
  const nodes = report.nodes.map((node) => [
    node.name,
    node.role,
    node.ready ? "Ready" : "NotReady",
    node.ip,
    String(node.pid),
    pid(node.agent),
    pid(node.proxy),
  ]);
  const pods = report.nodes.flatMap((node) =>
    node.pods.map((pod) => [
      pod.namespace,
      pod.name,
      pod.ready ? "ready" : pod.phase,
      pod.ip,
      node.name,
      pod.containers.map((one) => one.pid || "-").join(","),
    ]),
  );
  return [
    `Lab:        ${report.ready ? "ready" : "not ready"} (process ${report.pid})`,
    `API server: ${report.apiServer}`,
    `Kubeconfig: ${report.kubeconfig}`,
    "",
    formatColumns(["NODE", "ROLE", "STATUS", "ADDRESS", "PID", "AGENT", "PROXY"], nodes),
    "",
    formatColumns(["NAMESPACE", "POD", "STATUS", "ADDRESS", "NODE", "PIDS"], pods),
    "",
  ].join("\n");
}

function pid(process: { readonly pid: number } | undefined): string {
  return process ? String(process.pid) : "-";
}
