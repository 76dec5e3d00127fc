import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createEndpointTable, type Endpoint } from "#endpoint/endpoint.ts";
import { decide, selectPeer } from "#proxy/policy/decide.ts";
import type { PeerRule, PortPolicy } from "#proxy/protocol.ts";
import { createDatabase } from "#statedb/database.ts";
import { opened, withFormer } from "./proxy-step.ts";

const port = (number: number): PortPolicy => ({ port: number, protocol: "TCP", rules: [] });
const endpoint = (id: number, ip: string, ...ports: number[]) => ({ id, identity: 300, ips: [ip], ingress: ports.map(port), egress: [] });

function tableOf(...rows: [id: number, ip: string][]) {
  const table = createEndpointTable(createDatabase());
  for (const [id, ipv4] of rows) {
    table.set({
      id,
      ipv4,
      ipv6: undefined,
      identity: 300,
      containerId: `c${id}`,
      pod: { namespace: "d", name: `p${id}`, uid: "" },
      interface: { ifname: "eth0", index: id },
    } as unknown as Endpoint);
  }
  return table;
}

const portsOf = (endpoints: ReturnType<typeof withFormer>) => endpoints.map(({ id, ingress }) => [id, ingress.map((one) => one.port)]);

describe("withFormer", () => {
  it("keeps the rules of a port that loses them until the kernel has let go of it", () => {
    const kept = withFormer(
      [endpoint(1, "10.0.0.1", 80)],
      [endpoint(1, "10.0.0.1", 80, 8080), endpoint(2, "10.0.0.2", 80)],
      tableOf([1, "10.0.0.1"], [2, "10.0.0.2"]),
    );
    assert.deepEqual(portsOf(kept), [
      [1, [80, 8080]],
      [2, [80]],
    ]);
  });
  it("drops at once what an endpoint had that is gone, or whose number and address are another's", () => {
    const kept = withFormer([], [endpoint(1, "10.0.0.1", 80), endpoint(2, "10.0.0.2", 80)], tableOf([2, "10.0.0.9"]));
    assert.deepEqual(portsOf(kept), []);
  });
});

describe("opened", () => {
  it("lets every request pass in audit mode, those too that no rule allows", () => {
    const rule: PeerRule = { identities: null, parser: "http", http: [{ method: "GET" }], origins: [] };
    const request = { method: "POST", path: "/", host: "backend", headers: [], header: () => undefined };
    const allowed = (ports: readonly PortPolicy[]) =>
      ports.map(({ rules }) => decide(selectPeer(rules, [], 300), request as unknown as Parameters<typeof decide>[1]).allowed);
    const ports: PortPolicy[] = [{ port: 80, protocol: "TCP", rules: [rule] }];
    assert.deepEqual([allowed(ports), allowed(opened(ports))], [[false], [true]]);
  });
});
