import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Netns } from "#sys/netns.ts";
import { netlinkCompliance } from "./compliance.ts";
import { createFakeNetlink, createFakeNetwork } from "./fake.ts";

netlinkCompliance("the fake", () => {
  const network = createFakeNetwork();
  const podNetns = new Netns(-1, "/run/netns/pod");
  return { node: network.open(), pod: network.open({ netns: podNetns }), podNetns, [Symbol.dispose]: () => {} };
});

describe("createFakeNetlink", () => {
  it("fails when it is told to", () => {
    const netlink = createFakeNetlink({ fail: (operation) => (operation === "rule" ? "EPERM" : undefined) });
    netlink.apply([{ set: "link", name: "lo", up: true }]);
    assert.throws(() => netlink.apply([{ set: "rule", family: 4, priority: 1, table: 7 }]), /rule family 4 priority 1 table 7: EPERM/);
  });
});
