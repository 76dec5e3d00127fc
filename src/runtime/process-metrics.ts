import { readdirSync, readFileSync } from "node:fs";
import type { Registry } from "prom-client";

const PAGE_BYTES = 4096;

/** The usual metrics of a process, as Prometheus' clients name them: `<prefix>process_resident_memory_bytes` and so on. */
export async function registerProcessMetrics(registry: Registry, prefix: string): Promise<void> {
  const { Counter, Gauge } = await import("prom-client");
  const registers = [registry];
  let counted = 0;
  new Counter({
    name: `${prefix}process_cpu_seconds_total`,
    help: "Total user and system CPU time spent in seconds.",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      const seconds = (user + system) / 1e6;
      this.inc(seconds - counted);
      counted = seconds;
    },
  });
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name: `${prefix}process_${name}`,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  gauge("resident_memory_bytes", "Resident memory size in bytes.", () => process.memoryUsage.rss());
  gauge(
    "virtual_memory_bytes",
    "Virtual memory size in bytes.",
    () => Number(readFileSync("/proc/self/statm", "utf8").split(" ")[0]) * PAGE_BYTES,
  );
  gauge("open_fds", "Number of open file descriptors.", () => readdirSync("/proc/self/fd").length);
  gauge("start_time_seconds", "Start time of the process since unix epoch in seconds.", () => performance.timeOrigin / 1000);
}
