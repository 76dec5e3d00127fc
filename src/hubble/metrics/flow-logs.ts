import { Counter, Gauge, type Registry } from "prom-client";
import type { FlowLogs } from "../export/flow-logs.ts";

/** Shows how the flow logs of a file do, as `hubble_dynamic_exporter_*`. */
export function addFlowLogMetrics(registry: Registry, flowLogs: Pick<FlowLogs, "status">): void {
  const registers = [registry];
  new Gauge({
    name: "hubble_dynamic_exporter_exporters_total",
    help: "Number of configured exporters",
    labelNames: ["status"],
    registers,
    collect() {
      const active = flowLogs.status().logs.filter((log) => log.active).length;
      this.set({ status: "active" }, active);
      this.set({ status: "inactive" }, flowLogs.status().logs.length - active);
    },
  });
  new Gauge({
    name: "hubble_dynamic_exporter_up",
    help: "Status of individual exporters",
    labelNames: ["name"],
    registers,
    collect() {
      this.reset();
      for (const { name, active } of flowLogs.status().logs) this.set({ name }, active ? 1 : 0);
    },
  });
  new Counter({
    name: "hubble_dynamic_exporter_reconfigurations_total",
    help: "Number of dynamic exporters reconfigurations",
    labelNames: ["op"],
    registers,
    collect() {
      this.reset();
      for (const [op, count] of Object.entries(flowLogs.status().reconfigurations)) this.inc({ op }, count);
    },
  });
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name: `hubble_dynamic_exporter_${name}`,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  gauge("config_hash", "Hash of last applied config", () => flowLogs.status().configHash);
  gauge("config_last_applied", "Timestamp of last applied config, seconds since 1970", () => flowLogs.status().appliedAt);
}
