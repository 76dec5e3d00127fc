import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AgentStatusShape } from "./shapes.ts";
import { formatAgentStatus } from "./status-agent.ts";

const now = new Date("2026-01-02T03:04:05Z");
const ago = (seconds: number) => new Date(now.getTime() - seconds * 1000).toISOString();
const status: AgentStatusShape = {
  kubernetes: { state: "Ok", msg: "1.33", "k8s-api-versions": ["core/v1::Pods", "cilium/v2::CiliumNode"] },
  cilium: { state: "Ok", msg: "0.1.0" },
  nodeMonitor: { cpus: 2, npages: 2048, pagesize: 4096, lost: 0 },
  ipam: { status: "IPv4: 1/253 allocated from 10.244.1.0/24", allocations: { "10.244.1.1": "router", "10.244.1.7": "default/web" } },
  controllers: [
    { name: "routes", status: { "success-count": 3, "last-success-timestamp": ago(65) } },
    {
      name: "services",
      status: { "consecutive-failure-count": 2, "last-failure-msg": "map full", "last-failure-timestamp": ago(3) },
    },
  ],
  proxy: {
    ip: "10.244.1.1",
    "port-range": "10000-20000",
    "total-redirects": 1,
    "envoy-deployment-mode": "external",
    redirects: [{ name: "7:ingress:TCP:80:", proxy: "http", "proxy-port": 10001 }],
  },
  hubble: { state: "Ok", msg: "", observer: { "current-flows": 2047, "max-flows": 4095, "seen-flows": 300, uptime: "1m40s" } },
  "hubble-metrics": { state: "Ok" },
};

describe("an agent's status as text", () => {
  it("has upstream's lines, and of the controllers those that fail", () => {
    const lines = formatAgentStatus(status, {}, now).split("\n");
    const find = (start: string) => lines.find((line) => line.startsWith(start))?.replaceAll(/ {2,}/g, "  ");
    assert.equal(find("Kubernetes APIs:"), 'Kubernetes APIs:  ["cilium/v2::CiliumNode", "core/v1::Pods"]');
    assert.equal(find("NodeMonitor:"), "NodeMonitor:  Listening for events on 2 CPUs with 2048x4096 of shared memory");
    assert.equal(find("Controller Status:"), "Controller Status:  1/2 healthy");
    assert.equal(find("  services"), "  services  never  3s ago  2  map full");
    assert.equal(find("  routes"), undefined);
    assert.equal(find("Proxy Status:"), "Proxy Status:  OK, ip 10.244.1.1, 1 redirects active on ports 10000-20000, Envoy: external");
    assert.equal(find("Hubble:"), "Hubble:  Ok  Current/Max Flows: 2047/4095 (49.99%), Flows/s: 3.00  Metrics: Ok");
  });

  it("shows addresses, controllers and redirects when asked", () => {
    const text = formatAgentStatus(status, { allAddresses: true, allControllers: true, allRedirects: true }, now);
    assert.match(text, /^Allocated addresses:\n {2}10\.244\.1\.1 \(router\)\n {2}10\.244\.1\.7 \(default\/web\)$/m);
    assert.match(text, /^ {2}routes +1m5s ago +never +0 +no error$/m);
    assert.match(text, /^ {2}http +7:ingress:TCP:80: +10001$/m);
  });
});
