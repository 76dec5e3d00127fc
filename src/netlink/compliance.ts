import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { Netns } from "#sys/netns.ts";
import type { Netlink } from "./netlink.ts";
import { NetlinkError } from "./netlink-error.ts";

/** Two namespaces: `node` is a socket in one, `pod` in the other, whose handle is `podNetns`. */
export interface TwoNamespaces extends Disposable {
  readonly node: Netlink;
  readonly pod: Netlink;
  readonly podNetns: Netns;
}

/** What every `Netlink` must do. `open` gives fresh namespaces; `skip` says why it cannot be run here. */
export function netlinkCompliance(name: string, open: () => TwoNamespaces, skip: string | false = false): void {
  describe(`${name} as Netlink`, { skip }, () => {
    let world: TwoNamespaces;
    beforeEach(() => {
      world = open();
    });
    afterEach(() => world[Symbol.dispose]());

    const veth = (hostName = "lxc1") =>
      world.node.createVeth({
        name: hostName,
        mtu: 1400,
        mac: "0a:00:00:00:00:01",
        peer: { name: "eth0", netns: world.podNetns, mac: "0a:00:00:00:00:02", mtu: 1400 },
      });

    it("makes a veth with its peer in the other namespace, both down", () => {
      const pair = veth();
      assert.equal(pair.mac, "0a:00:00:00:00:01");
      const [host, peer] = [world.node.link("lxc1"), world.pod.link("eth0")];
      assert.deepEqual([host?.index, host?.peerIndex, host?.mtu, host?.up, host?.kind], [pair.index, pair.peerIndex, 1400, false, "veth"]);
      assert.deepEqual([peer?.index, peer?.mac, peer?.up], [pair.peerIndex, "0a:00:00:00:00:02", false]);
      assert.equal(world.node.link("eth0"), undefined);
    });

    it("refuses a veth whose name is taken", () => {
      veth();
      assert.throws(veth, (error) => error instanceof NetlinkError && error.code === "EEXIST");
    });

    it("sets up a pod's link, twice with the same outcome", () => {
      const { index, peerIndex, mac } = veth();
      for (let round = 0; round < 2; round++) {
        world.node.apply([
          { set: "link", index, up: true },
          { set: "neighbour", index, address: "10.0.0.5", mac: "0a:00:00:00:00:02" },
          { set: "route", to: "10.0.0.5/32", index },
        ]);
        world.pod.apply([
          { set: "link", name: "lo", up: true },
          { set: "link", index: peerIndex, up: true },
          { set: "address", index: peerIndex, address: "10.0.0.5/32" },
          { set: "neighbour", index: peerIndex, address: "10.0.0.1", mac },
          { set: "route", to: "10.0.0.1/32", index: peerIndex, scope: "link" },
          { set: "route", to: "default", via: "10.0.0.1", index: peerIndex },
        ]);
      }
      assert.equal(world.pod.link("eth0")?.up, true);
      assert.ok(world.pod.addresses().some((one) => one.index === peerIndex && one.address === "10.0.0.5/32"));
      const routes = world.pod.routes().filter(({ table, to }) => table === 254 && !to.includes(":"));
      assert.deepEqual(routes.map(({ to, via, scope }) => [to, via, scope]).sort(), [
        ["0.0.0.0/0", "10.0.0.1", "universe"],
        ["10.0.0.1/32", undefined, "link"],
      ]);
      assert.deepEqual(
        world.node.neighbours().filter(({ permanent }) => permanent),
        [{ index, address: "10.0.0.5", mac: "0a:00:00:00:00:02", permanent: true }],
      );
    });

    it("routes marked packets to a table of their own, and takes it back", () => {
      const rule = { family: 4, priority: 9, mark: 0x200, mask: 0xf00, table: 2004 } as const;
      world.node.apply([
        { set: "link", name: "lo", up: true },
        { set: "rule", ...rule },
        { set: "rule", ...rule },
        { set: "route", to: "0.0.0.0/0", index: 1, table: 2004, type: "local" },
      ]);
      assert.deepEqual(
        world.node.rules().filter(({ priority }) => priority === 9),
        [rule],
      );
      const proxied = () => world.node.routes().filter(({ table }) => table === 2004);
      assert.deepEqual(
        proxied().map(({ to, type, index }) => [to, type, index]),
        [["0.0.0.0/0", "local", 1]],
      );
      for (let round = 0; round < 2; round++) {
        world.node.apply([
          { set: "no-rule", ...rule },
          { set: "no-route", to: "0.0.0.0/0", index: 1, table: 2004, type: "local" },
        ]);
      }
      assert.deepEqual([world.node.rules().filter(({ priority }) => priority === 9), proxied()], [[], []]);
    });

    it("removes what was set, and what is gone already", () => {
      const { index } = veth();
      world.node.apply([
        { set: "link", index, up: true },
        { set: "address", index, address: "10.0.0.1/24" },
        { set: "route", to: "10.9.0.0/24", index },
        { set: "neighbour", index, address: "10.0.0.9", mac: "0a:00:00:00:00:09" },
      ]);
      for (let round = 0; round < 2; round++) {
        world.node.apply([
          { set: "no-neighbour", index, address: "10.0.0.9" },
          { set: "no-route", to: "10.9.0.0/24", index },
          { set: "no-address", index, address: "10.0.0.1/24" },
        ]);
      }
      assert.ok(!world.node.routes().some(({ to }) => to === "10.9.0.0/24"));
      assert.ok(!world.node.addresses().some(({ address }) => address === "10.0.0.1/24"));
      assert.deepEqual(
        world.node.neighbours().filter(({ permanent }) => permanent),
        [],
      );
    });

    it("replaces a route to the same prefix", () => {
      const { index } = veth();
      world.node.apply([
        { set: "link", index, up: true },
        { set: "address", index, address: "10.0.0.1/24" },
        { set: "route", to: "10.9.0.0/24", via: "10.0.0.2", index },
        { set: "route", to: "10.9.0.0/24", via: "10.0.0.3", index },
      ]);
      const found = world.node.routes().filter(({ to }) => to === "10.9.0.0/24");
      assert.deepEqual(
        found.map(({ via }) => via),
        ["10.0.0.3"],
      );
    });

    it("speaks IPv6", () => {
      const { peerIndex } = veth();
      world.pod.apply([
        { set: "link", index: peerIndex, up: true },
        { set: "address", index: peerIndex, address: "fd00::5/128" },
        { set: "neighbour", index: peerIndex, address: "fd00::1", mac: "0a:00:00:00:00:01" },
        { set: "route", to: "fd00::1/128", index: peerIndex, scope: "link" },
      ]);
      assert.ok(world.pod.addresses().some(({ address }) => address === "fd00::5/128"));
      assert.ok(world.pod.routes().some(({ to }) => to === "fd00::1/128"));
    });

    it("names the change that fails, and does the others", () => {
      const { index } = veth();
      assert.throws(
        () =>
          world.node.apply([
            { set: "link", index: 99, up: true },
            { set: "link", index, mtu: 1300 },
          ]),
        (error) => error instanceof NetlinkError && error.code === "ENODEV" && error.change?.set === "link",
      );
      assert.equal(world.node.link(index)?.mtu, 1300);
    });

    it("deletes a link once", async () => {
      veth();
      assert.equal(await world.node.deleteLink("lxc1"), true);
      assert.equal(await world.node.deleteLink("lxc1"), false);
      assert.equal(world.node.link("lxc1"), undefined);
    });
  });
}
