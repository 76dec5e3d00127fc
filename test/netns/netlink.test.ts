import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { netlinkCompliance } from "#netlink/compliance.ts";
import { createNetns, deleteNetns } from "#netlink/netns.ts";
import { openNetlink } from "#netlink/socket.ts";
import { isKernelError } from "#sys/kernel-error.ts";

const skip = process.getuid?.() === 0 ? false : "skipped, because making namespaces takes root";
let worlds = 0;

function openWorld() {
  const names = [`cilia-nl-${process.pid}-${worlds}-node`, `cilia-nl-${process.pid}-${worlds++}-pod`] as const;
  const [nodeNetns, podNetns] = [createNetns(names[0]), createNetns(names[1])];
  const [node, pod] = [openNetlink({ netns: nodeNetns }), openNetlink({ netns: podNetns })];
  return {
    node,
    pod,
    podNetns,
    [Symbol.dispose]() {
      for (const one of [node, pod, nodeNetns, podNetns]) one.close();
      for (const name of names) deleteNetns(name);
    },
  };
}

netlinkCompliance("the kernel", openWorld, skip);

describe("openNetlink", { skip }, () => {
  it("repeats the kernel's own words", () => {
    using world = openWorld();
    assert.throws(
      () => world.node.apply([{ set: "route", to: "10.9.0.0/24", via: "1.2.3.4" }]),
      /ENETUNREACH \(Nexthop has invalid gateway\)/,
    );
  });

  it("dumps more than one datagram holds", () => {
    using world = openWorld();
    world.node.apply([{ set: "link", name: "lo", up: true }]);
    world.node.apply(Array.from({ length: 3000 }, (_, i) => ({ set: "route", to: `10.${i >> 8}.${i & 255}.0/24`, index: 1, table: 7 })));
    assert.equal(world.node.routes().filter(({ table }) => table === 7).length, 3000);
  });
});

describe("createNetns", { skip }, () => {
  it("refuses a name that is taken; deleting twice is no error", () => {
    const name = `cilia-nl-${process.pid}-twice`;
    createNetns(name).close();
    try {
      assert.throws(
        () => createNetns(name),
        (error) => isKernelError(error, "EEXIST"),
      );
    } finally {
      assert.equal(deleteNetns(name), true);
    }
    assert.equal(deleteNetns(name), false);
  });
});
