import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { clusterNode } from "./node.ts";
import { routesTo } from "./routes.ts";
import { ciliumNodeSpec, resolveSelf } from "./self.ts";

const node = {
  spec: { podCIDR: "10.0.1.0/24" },
  status: {
    addresses: [
      { type: "Hostname", address: "n1" },
      { type: "InternalIP", address: "192.0.2.1" },
    ],
  },
};
const devices = [
  { name: "lo", index: 1, mtu: 65536, addresses: ["127.0.0.1/8"] },
  { name: "eth0", index: 2, mtu: 1500, addresses: ["192.0.2.1/24"] },
];
const config = { ipv4: true, ipv6: false, devices: [] };

describe("clusterNode", () => {
  it("takes the Node's words until the CiliumNode has its own", () => {
    assert.deepEqual(clusterNode("n1", node, undefined), {
      name: "n1",
      internalIps: ["192.0.2.1"],
      routerIps: [],
      podCidrs: ["10.0.1.0/24"],
    });
    const spec = {
      addresses: [
        { type: "InternalIP", ip: "192.0.2.9" },
        { type: "CiliumInternalIP", ip: "10.0.9.1" },
        { type: "InternalIP", ip: "no address" },
      ],
      ipam: { podCIDRs: ["10.0.9.0/24"] },
    };
    assert.deepEqual(clusterNode("n1", node, { spec }), {
      name: "n1",
      internalIps: ["192.0.2.9"],
      routerIps: ["10.0.9.1"],
      podCidrs: ["10.0.9.0/24"],
    });
  });
});

describe("routesTo", () => {
  it("goes through the node's address of the same family, and nowhere without one", () => {
    const dual = clusterNode("n2", { ...node, spec: { podCIDRs: ["10.0.2.0/24", "fd00:2::/64"] } }, undefined);
    assert.deepEqual(routesTo(dual), [{ to: "10.0.2.0/24", via: "192.0.2.1" }]);
  });
});

describe("resolveSelf", () => {
  it("finds the device that has the node's address", () => {
    const self = resolveSelf(clusterNode("n1", node, undefined), devices, config);
    assert.deepEqual(self.device, { name: "eth0", index: 2, mtu: 1500 });
    assert.equal(self.ipv4, "192.0.2.1");
    assert.deepEqual(ciliumNodeSpec(self, []).ipam, { podCIDRs: ["10.0.1.0/24"] });
  });
  it("says what is missing", () => {
    const refuse =
      (one: Parameters<typeof resolveSelf>[0], overrides: object = {}) =>
      () =>
        resolveSelf(one, devices, { ...config, ...overrides });
    assert.throws(refuse(clusterNode("n1", { ...node, spec: {} }, undefined)), /no IPv4 pod CIDR yet/);
    assert.throws(refuse(clusterNode("n1", node, undefined), { ipv6: true }), /no IPv6 pod CIDR yet/);
    assert.throws(refuse(clusterNode("n1", { ...node, status: {} }, undefined)), /no device of this node has one of its addresses/);
    assert.throws(refuse(clusterNode("n1", node, undefined), { devices: ["eth7"] }), /name it with --devices/);
  });
});
