import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { createNetns, deleteNetns } from "#netlink/netns.ts";
import { openSocketDiag } from "#netlink/sock-diag.ts";
import { openNetlink } from "#netlink/socket.ts";
import type { Netns } from "#sys/netns.ts";
import { datagram, socketCookie } from "#sys/socket.ts";
import { IpAddress } from "#types/addr.ts";

const NAME = `diag${process.pid}`;

describe("sockets of a namespace", () => {
  let netns: Netns;
  before(() => {
    netns = createNetns(NAME);
    using netlink = openNetlink({ netns });
    netlink.apply([{ set: "link", name: "lo", up: true }]);
  });
  after(() => {
    netns.close();
    deleteNetns(NAME);
  });

  for (const [family, address] of [
    ["udp4", "127.0.0.1"],
    ["udp6", "::1"],
  ] as const) {
    it(`a connected UDP socket is found by where it leads, and ended: ${family}`, async () => {
      const fd = datagram({ host: address, port: 0, netns });
      const cookie = socketCookie(fd);
      const socket = createSocket(family);
      await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
      const failed = once(socket, "error");
      socket.connect(4242, address);
      await once(socket, "connect");
      using diag = openSocketDiag(netns);
      const found = diag.connectedUdp().find((one) => one.cookie === cookie);
      assert.ok(found);
      assert.deepEqual([found.remote, found.remotePort], [IpAddress(address), 4242]);
      assert.equal(diag.destroy(found), true);
      assert.equal(diag.destroy(found), false);
      const [error] = (await failed) as [NodeJS.ErrnoException];
      assert.equal(error.code, "ECONNABORTED");
      socket.close();
      assert.equal(
        diag.connectedUdp().some((one) => one.cookie === cookie),
        false,
      );
    });
  }
});
