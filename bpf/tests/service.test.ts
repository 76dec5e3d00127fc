import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Datapath, openDatapath } from "./harness.ts";
import type { Pod } from "./maps.ts";
import { caller, clusterIp, end, ends, line, NODE_PORT, nodePort, PORT, placeNode, TARGET, told, vip } from "./service-words.ts";
import { ACK, CLIENT, FIN_ACK, families, remotePod, SCTP, SERVER, SYN_ACK, sctp, TCP, tcp, thisNode, UDP, udp } from "./words.ts";

describe("a pod's packets to a service", () => {
  let datapath: Datapath;
  let client: Pod;
  let server: Pod;
  before(() => {
    datapath = openDatapath();
    client = datapath.addPod("client", CLIENT);
    server = datapath.addPod("server", SERVER);
    placeNode(datapath);
  });
  after(() => datapath[Symbol.asyncDispose]());
  const reset = () => {
    datapath.services.clear();
    datapath.maps.ct.clear();
    datapath.maps.setPolicy(client, {});
    datapath.maps.setPolicy(server, {});
  };

  for (const family of families) {
    it(`SCTP goes to a backend with the service's port, and nowhere else: ${family}`, async () => {
      for (const [port, out, back] of [
        [
          PORT,
          `redirect ${line(end(client, family, 40000), end(server, family, PORT))}`,
          `redirect ${line(end(vip, family, PORT), end(client, family, 40000))}`,
        ],
        [TARGET, "ERROR_WHILE_CORRECTING_L4_CHECKSUM", undefined],
      ] as const) {
        reset();
        datapath.services.set({ ...clusterIp(family, SCTP, []), backends: [end(server, family, port)] });
        assert.equal(told(await datapath.fromPod(client, sctp(client, vip, family, [40000, PORT]))), out);
        if (back) assert.equal(told(await datapath.fromPod(server, sctp(server, client, family, [PORT, 40000]))), back);
      }
    });

    for (const [name, protocol, packet] of [
      ["TCP", TCP, tcp],
      ["UDP", UDP, udp],
    ] as const) {
      it(`go to a backend on another node, and the answers come from the service: ${name} ${family}`, async () => {
        reset();
        datapath.services.set(clusterIp(family, protocol, [remotePod]));
        const out = await datapath.fromPod(client, packet(client, vip, family, [40000, PORT]));
        assert.equal(told(out), `redirect ${line(end(client, family, 40000), end(remotePod, family, TARGET))}`);
        const back = await datapath.fromNetwork(packet(remotePod, client, family, [TARGET, 40000], SYN_ACK));
        assert.equal(told(back), `redirect ${line(end(vip, family, PORT), end(client, family, 40000))}`);
      });

      it(`go to a backend on this node, and the answers come from the service: ${name} ${family}`, async () => {
        reset();
        datapath.services.set(clusterIp(family, protocol, [server]));
        const out = await datapath.fromPod(client, packet(client, vip, family, [40000, PORT]));
        assert.equal(told(out), `redirect ${line(end(client, family, 40000), end(server, family, TARGET))}`);
        assert.equal(out.packet.ethernet?.destination, server.mac);
        const back = await datapath.fromPod(server, packet(server, client, family, [TARGET, 40000], SYN_ACK));
        assert.equal(told(back), `redirect ${line(end(vip, family, PORT), end(client, family, 40000))}`);
      });

      it(`a backend that is a process of this node: the stack has it, and its answers: ${name} ${family}`, async () => {
        reset();
        datapath.services.set(clusterIp(family, protocol, [thisNode]));
        const out = await datapath.fromPod(client, packet(client, vip, family, [40000, PORT]));
        assert.equal(told(out), `pass ${line(end(client, family, 40000), end(thisNode, family, TARGET))}`);
        const back = await datapath.toPod(client, packet(thisNode, client, family, [TARGET, 40000], SYN_ACK));
        assert.equal(told(back), `pass ${line(end(vip, family, PORT), end(client, family, 40000))}`);
      });

      it(`the same ports, now of a call to the backend itself, hear the backend: ${name} ${family}`, async () => {
        reset();
        datapath.services.set(clusterIp(family, protocol, [server]));
        await datapath.fromPod(client, packet(client, vip, family, [40000, PORT]));
        await datapath.fromPod(client, packet(client, server, family, [40000, TARGET]));
        const back = await datapath.fromPod(server, packet(server, client, family, [TARGET, 40000], SYN_ACK));
        assert.equal(told(back), `redirect ${line(end(server, family, TARGET), end(client, family, 40000))}`);
      });

      it(`a pod that is its own backend hears another address: ${name} ${family}`, async () => {
        reset();
        datapath.services.set(clusterIp(family, protocol, [client]));
        datapath.maps.setPolicy(client, { ingress: [], egress: [] });
        const loopback = { ipv4: "169.254.42.1", ipv6: "fd00:169:254:42::1" }[family] as typeof client.ipv4;
        const out = await datapath.fromPod(client, packet(client, vip, family, [40000, PORT]));
        assert.equal(told(out), `redirect ${line({ ip: loopback, port: 40000 }, end(client, family, TARGET))}`);
        assert.equal(out.packet.ethernet?.destination, client.mac);
        const answer = packet(client, { ...client, [family]: loopback }, family, [TARGET, 40000], SYN_ACK);
        assert.equal(told(await datapath.fromPod(client, answer)), `redirect ${line(end(vip, family, PORT), end(client, family, 40000))}`);
      });

      it(`policy sees the backend and its port: ${name} ${family}`, async () => {
        reset();
        datapath.services.set(clusterIp(family, protocol, [server]));
        datapath.maps.setPolicy(server, { ingress: [{ peer: CLIENT, protocol, port: TARGET }] });
        assert.equal((await datapath.fromPod(client, packet(client, vip, family, [40000, PORT]))).verdict, "redirect");
        datapath.maps.setPolicy(server, { ingress: [{ peer: CLIENT, protocol, port: PORT }] });
        assert.equal(told(await datapath.fromPod(client, packet(client, vip, family, [40001, PORT]))), "POLICY_DENIED");
      });
    }

    it(`a connection keeps its backend while there is one: ${family}`, async () => {
      reset();
      datapath.services.set(clusterIp(family, TCP, [server]));
      const send = async (port: number, flags?: number) =>
        told(await datapath.fromPod(client, tcp(client, vip, family, [port, PORT], flags)));
      const to = (place: typeof remotePod, port: number) => `redirect ${line(end(client, family, port), end(place, family, TARGET))}`;
      assert.equal(await send(40000), to(server, 40000));
      datapath.services.set(clusterIp(family, TCP, [remotePod]));
      assert.equal(await send(40000, ACK), to(server, 40000));
      assert.equal(await send(40001), to(remotePod, 40001));
      datapath.services.forget(end(server, family, TARGET), TCP);
      assert.equal(await send(40000, ACK), to(remotePod, 40000));
    });

    it(`the same ports begin a new connection after the end of the last: ${family}`, async () => {
      reset();
      datapath.services.set(clusterIp(family, TCP, [server]));
      await datapath.fromPod(client, tcp(client, vip, family, [40000, PORT]));
      await datapath.fromPod(client, tcp(client, vip, family, [40000, PORT], FIN_ACK));
      datapath.services.set(clusterIp(family, TCP, [remotePod]));
      const out = await datapath.fromPod(client, tcp(client, vip, family, [40000, PORT]));
      assert.equal(ends(out.bytes), line(end(client, family, 40000), end(remotePod, family, TARGET)));
    });

    it(`every backend gets its share: ${family}`, async () => {
      reset();
      datapath.services.set(clusterIp(family, UDP, [server, remotePod]));
      const seen = new Map<string, number>();
      for (let port = 41000; port < 41100; port++) {
        const { packet } = await datapath.fromPod(client, udp(client, vip, family, [port, PORT]));
        seen.set(packet.ip?.destination ?? "", (seen.get(packet.ip?.destination ?? "") ?? 0) + 1);
      }
      for (const place of [server, remotePod]) assert.ok((seen.get(place[family]) ?? 0) > 20, JSON.stringify([...seen]));
    });

    it(`a backend that is not ready gets nothing, though the count is still the one of before: ${family}`, async () => {
      reset();
      datapath.services.set({ ...clusterIp(family, UDP, [server]), quarantined: [end(remotePod, family, TARGET)], count: 2 });
      for (let port = 41000; port < 41030; port++) {
        const { packet } = await datapath.fromPod(client, udp(client, vip, family, [port, PORT]));
        assert.equal(packet.ip?.destination, server[family]);
      }
      datapath.services.set({ ...clusterIp(family, UDP, []), quarantined: [end(remotePod, family, TARGET)], count: 1 });
      const { reason } = await datapath.fromPod(client, udp(client, vip, family, [42000, PORT]));
      assert.equal(reason, "SERVICE_BACKEND_NOT_FOUND");
    });

    it(`no backend: TCP is reset, UDP is told, and both are counted as drops: ${family}`, async () => {
      reset();
      for (const protocol of [TCP, UDP]) datapath.services.set(clusterIp(family, protocol, []));
      const reset1 = await datapath.fromPod(client, tcp(client, vip, family, [40000, PORT]));
      assert.deepEqual([reset1.verdict, reset1.reason], ["redirect", "SERVICE_BACKEND_NOT_FOUND"]);
      assert.equal(ends(reset1.bytes), line(end(vip, family, PORT), end(client, family, 40000)));
      assert.deepEqual([reset1.packet.tcp?.flags, reset1.packet.tcp?.acknowledgement], [4 | 16, 2]);
      assert.equal(reset1.packet.ethernet?.destination, client.mac);
      const told1 = await datapath.fromPod(client, udp(client, vip, family, [40000, PORT]));
      assert.deepEqual([told1.verdict, told1.reason], ["redirect", "SERVICE_BACKEND_NOT_FOUND"]);
      assert.equal(ends(told1.bytes), `${vip[family]}:- > ${client[family]}:-`);
      assert.deepEqual([told1.packet.icmp?.type, told1.packet.icmp?.code], family === "ipv4" ? [3, 3] : [1, 4]);
      assert.equal(told1.packet.icmp?.original?.udp?.destinationPort, PORT);
    });

    it(`clients inside see the internal scope: ${family}`, async () => {
      reset();
      const spec = clusterIp(family, TCP, [server]);
      datapath.services.set({ ...spec, scope: 1 });
      datapath.services.set({ ...spec, backends: [], flags: ["TWO_SCOPES", "ROUTABLE", "EXTERNAL_LOCAL"] });
      assert.equal((await datapath.fromPod(client, tcp(client, vip, family, [40000, PORT]))).verdict, "redirect");
      assert.equal(told(await datapath.fromNetwork(tcp(caller, vip, family, [40000, PORT]))), "SERVICE_BACKEND_NOT_FOUND");
    });

    it(`a client keeps its backend for the service's time: ${family}`, async () => {
      reset();
      datapath.services.set({ ...clusterIp(family, UDP, [server, remotePod]), affinitySeconds: 60 });
      const seen = new Set<string>();
      for (let port = 41000; port < 41040; port++) {
        const { packet } = await datapath.fromPod(client, udp(client, vip, family, [port, PORT]));
        seen.add(packet.ip?.destination ?? "");
      }
      assert.equal(seen.size, 1);
      const [left] = [server, remotePod].filter((place) => !seen.has(place[family]));
      if (!left) throw new Error("no backend left");
      datapath.services.set({ ...clusterIp(family, UDP, [left]), affinitySeconds: 60 });
      const { packet } = await datapath.fromPod(client, udp(client, vip, family, [41100, PORT]));
      assert.equal(packet.ip?.destination, left[family]);
    });

    it(`this node's own node port works from its pods: ${family}`, async () => {
      reset();
      datapath.services.set(nodePort(family, TCP, [remotePod]));
      const out = await datapath.fromPod(client, tcp(client, thisNode, family, [40000, NODE_PORT]));
      assert.equal(told(out), `redirect ${line(end(client, family, 40000), end(remotePod, family, TARGET))}`);
      const back = await datapath.fromNetwork(tcp(remotePod, client, family, [TARGET, 40000], SYN_ACK));
      assert.equal(ends(back.bytes), line(end(thisNode, family, NODE_PORT), end(client, family, 40000)));
    });
  }

  it("with kube-proxy what comes from outside is its own, cluster addresses that pods ask for are ours", async () => {
    await using other = openDatapath({ enableNodeport: 0 });
    const pod = other.addPod("a", CLIENT);
    other.services.set(clusterIp("ipv4", TCP, [remotePod]));
    const out = await other.fromPod(pod, tcp(pod, vip, "ipv4", [40000, PORT]));
    assert.equal(ends(out.bytes), line(end(pod, "ipv4", 40000), end(remotePod, "ipv4", TARGET)));
    other.services.set(nodePort("ipv4", TCP, [remotePod]));
    const called = await other.fromNetwork(tcp(caller, thisNode, "ipv4", [50000, NODE_PORT]));
    assert.equal(told(called), `pass ${line(end(caller, "ipv4", 50000), end(thisNode, "ipv4", NODE_PORT))}`);
  });
});
