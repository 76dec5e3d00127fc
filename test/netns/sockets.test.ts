import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { createNetns, deleteNetns } from "#netlink/netns.ts";
import { openNetlink } from "#netlink/socket.ts";
import { boottimeNs, monotonicNs } from "#sys/clock.ts";
import { isKernelError } from "#sys/kernel-error.ts";
import { inNetns, type Netns, netnsCookie } from "#sys/netns.ts";
import { listener, socketCookie, spoofedStream, stream, transparentListener } from "#sys/socket.ts";

const skip = process.getuid?.() === 0 ? false : "skipped, because making namespaces takes root";

describe("sockets of another namespace", { skip }, () => {
  const name = `cilia-sock-${process.pid}`;
  let netns: Netns;

  before(() => {
    netns = createNetns(name);
    using netlink = openNetlink({ netns });
    netlink.apply([
      { set: "link", name: "lo", up: true },
      // Everything marked as the proxy's is delivered here, whatever its destination.
      { set: "rule", family: 4, priority: 9, mark: 0x200, mask: 0xf00, table: 2004 },
      { set: "route", to: "0.0.0.0/0", index: 1, table: 2004, type: "local" },
      // So that answers to the borrowed source address stay here.
      { set: "route", to: "192.0.2.0/24", index: 1, type: "local" },
    ]);
  });

  after(() => {
    netns.close();
    deleteNetns(name);
  });

  it("listen and connect there, while this thread stays here", async () => {
    const own = netnsCookie();
    const server = createServer((socket) => socket.end("hello"));
    server.listen({ fd: listener({ host: "127.0.0.1", port: 0, netns }) });
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const client = new Socket({ fd: stream({ family: 4, netns }) }).connect(port, "127.0.0.1");
    const [data] = (await once(client, "data")) as [Buffer];
    assert.equal(data.toString(), "hello");
    const outside = connect(port, "127.0.0.1");
    const [error] = (await once(outside, "error")) as [NodeJS.ErrnoException];
    assert.equal(error.code, "ECONNREFUSED");
    client.destroy();
    server.close();
    assert.equal(netnsCookie(), own);
    assert.notEqual(netnsCookie(netns), own);
    assert.equal(
      inNetns(netns, () => netnsCookie()),
      netnsCookie(netns),
    );
  });

  it("take connections to any address, and connect with another's source and a mark", async () => {
    const server = createServer();
    server.listen({ fd: transparentListener({ host: "0.0.0.0", port: 10001, netns }) });
    await once(server, "listening");
    const fd = spoofedStream({ source: "192.0.2.7", mark: 0x0001_0200, netns });
    assert.ok(socketCookie(fd) > 0n);
    const client = new Socket({ fd }).connect(10001, "198.51.100.9");
    const [accepted] = (await once(server, "connection")) as [Socket];
    assert.deepEqual([accepted.localAddress, accepted.localPort, accepted.remoteAddress], ["198.51.100.9", 10001, "192.0.2.7"]);
    accepted.destroy();
    client.destroy();
    server.close();
  });

  it("say what is taken", () => {
    const fd = listener({ host: "127.0.0.1", port: 7777, netns });
    assert.throws(
      () => listener({ host: "127.0.0.1", port: 7777, netns }),
      (error) => isKernelError(error, "EADDRINUSE") && /bind 127\.0\.0\.1 port 7777/.test(error.message),
    );
    new Socket({ fd }).destroy();
  });
});

describe("clocks", { skip }, () => {
  it("go forward", () => {
    const first = boottimeNs();
    assert.ok(boottimeNs() >= first && monotonicNs() <= boottimeNs());
  });
});
