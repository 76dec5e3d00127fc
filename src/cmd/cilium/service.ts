import { type AskOptions, askAgents } from "./agents.ts";
import type { Layout } from "./endpoint.ts";
import { formatOutput, formatTable } from "./output.ts";
import type { ServiceAddressShape, ServiceShape } from "./shapes.ts";

/** `service list`: frontends and what is behind them, as one agent programs them (all agents program the same). */
export async function serviceList(options: AskOptions & { readonly output?: string; readonly layout: Layout }): Promise<string> {
  const [answer] = await askAgents<ServiceShape[]>("/v1/service", options);
  const services = (answer?.value ?? []).toSorted((a, b) => a.spec.id - b.spec.id);
  if (options.output) return formatOutput(options.output, services);
  const rows = services.flatMap(({ spec }) => {
    const backends = (spec["backend-addresses"] ?? []).map(
      (backend, index) => `${index + 1} => ${format(backend)} (${backend.state ?? "active"})`,
    );
    const first = [String(spec.id), format(spec["frontend-address"]), spec.flags?.type ?? "", backends[0] ?? ""];
    return [first, ...backends.slice(1).map((backend) => ["", "", "", backend])];
  });
  return formatTable(["ID", "Frontend", "Service Type", "Backend"], rows);
}

function format({ ip, port, protocol }: ServiceAddressShape): string {
  const host = ip.includes(":") ? `[${ip}]` : ip;
  return `${host}:${port}${protocol ? `/${protocol.toUpperCase()}` : ""}`;
}
