import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { PacketSpec } from "#packet/build.ts";
import { type Datapath, openDatapath } from "./harness.ts";
import type { Pod } from "./maps.ts";
import { CLIENT, families, fragments, icmp, icmpOf, OTHER, remotePod, SERVER, TCP, UDP, udp } from "./words.ts";

describe("fragments", () => {
  let datapath: Datapath;
  let client: Pod;
  let server: Pod;
  before(() => {
    datapath = openDatapath();
    client = datapath.addPod("client", CLIENT);
    server = datapath.addPod("server", SERVER);
    for (const family of families) datapath.maps.know(remotePod[family], OTHER);
  });
  after(() => datapath[Symbol.asyncDispose]());

  const reset = (): void => {
    datapath.maps.ct.clear();
    datapath.maps.fragments.clear();
    datapath.maps.setPolicy(server, { ingress: [{ protocol: UDP, port: 53 }] });
  };
  const send = async (specs: readonly PacketSpec[]): Promise<(string | undefined)[]> => {
    const reasons: (string | undefined)[] = [];
    for (const spec of specs) reasons.push((await datapath.fromPod(client, spec)).reason);
    return reasons;
  };

  for (const family of families) {
    it(`all are judged by the first one's ports: ${family}`, async () => {
      reset();
      assert.deepEqual(await send(fragments(udp(client, server, family, [5000, 53]), family, UDP, 1)), [undefined, undefined, undefined]);
      const denied = await send(fragments(udp(client, server, family, [5000, 54]), family, UDP, 2));
      assert.deepEqual(denied, ["POLICY_DENIED", "POLICY_DENIED", "POLICY_DENIED"]);
      assert.equal(datapath.maps.ct.keys().length, 1);
    });

    it(`a later one without its first is dropped: ${family}`, async () => {
      reset();
      const [, second] = fragments(udp(client, server, family, [5000, 53]), family, UDP, 3);
      if (!second) throw new Error("no fragment");
      assert.deepEqual(await send([second]), ["FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND"]);
    });

    it(`another datagram's first one is no help: ${family}`, async () => {
      reset();
      const [first] = fragments(udp(client, server, family, [5000, 53]), family, UDP, 4);
      const [, second] = fragments(udp(client, server, family, [5000, 53]), family, UDP, 5);
      if (!first || !second) throw new Error("no fragment");
      assert.deepEqual(await send([first, second]), [undefined, "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND"]);
    });

    it(`a second first one cannot lend its ports to fragments of a denied datagram: ${family}`, async () => {
      reset();
      const good = fragments(udp(client, server, family, [5000, 53]), family, UDP, 6);
      const bad = fragments(udp(client, server, family, [5000, 54]), family, UDP, 6);
      assert.deepEqual(await send([good[0], bad[0], good[1]] as PacketSpec[]), [undefined, "POLICY_DENIED", "POLICY_DENIED"]);
    });

    it(`a first one too short for its header is dropped: ${family}`, async () => {
      reset();
      const whole = udp(client, server, family, [5000, 53]);
      const short: PacketSpec = { ip: { ...whole.ip, protocol: TCP, id: 7, moreFragments: true }, payload: new Uint8Array(8) };
      assert.deepEqual(await send([short]), ["CT_TRUNCATED_OR_INVALID_HEADER"]);
    });

    it(`ping in fragments is judged by its type: ${family}`, async () => {
      reset();
      const { protocol, request } = icmpOf[family];
      datapath.maps.setPolicy(server, { ingress: [{ protocol, port: request }] });
      assert.deepEqual(await send(fragments(icmp(client, server, family, request), family, protocol, 8)), [
        undefined,
        undefined,
        undefined,
      ]);
      datapath.maps.setPolicy(server, { ingress: [] });
      const denied = await send(fragments(icmp(client, server, family, request, 9), family, protocol, 9));
      assert.deepEqual(denied, ["POLICY_DENIED", "POLICY_DENIED", "POLICY_DENIED"]);
    });

    it(`from the network too: ${family}`, async () => {
      reset();
      for (const spec of fragments(udp(remotePod, server, family, [5000, 53]), family, UDP, 10)) {
        assert.equal((await datapath.fromNetwork(spec)).reason, undefined);
      }
    });
  }

  it("a TCP fragment that would overwrite the flags of the first is dropped (RFC 3128)", async () => {
    reset();
    const ip = { source: client.ipv4, destination: server.ipv4, protocol: TCP, id: 11, fragmentOffset: 8 };
    assert.deepEqual(await send([{ ip, payload: new Uint8Array(40) }]), ["INVALID_PACKET"]);
  });

  it("an IPv6 fragment header on a whole packet changes nothing (RFC 6946)", async () => {
    reset();
    const atomic = Uint8Array.of(UDP, 0, 0, 0, 0, 0, 0, 9);
    const spec = udp(client, server, "ipv6", [5000, 53]);
    assert.deepEqual(await send([{ ...spec, ip: { ...spec.ip, options: atomic, firstHeader: 44 } }]), [undefined]);
  });
});

describe("IPv6 extension headers and IPv4 options", () => {
  let datapath: Datapath;
  let client: Pod;
  let server: Pod;
  before(() => {
    datapath = openDatapath();
    client = datapath.addPod("client", CLIENT);
    server = datapath.addPod("server", SERVER, { ingress: [{ protocol: UDP, port: 53 }] });
  });
  after(() => datapath[Symbol.asyncDispose]());

  const HOP_BY_HOP = 0;
  const ROUTING = 43;
  const DESTINATION = 60;
  const AUTHENTICATION = 51;
  /** A chain of 8-byte headers ending in UDP. */
  const chain = (kinds: readonly number[], type = 4): Uint8Array =>
    Uint8Array.from(kinds.flatMap((kind, i) => [kinds[i + 1] ?? UDP, kind === AUTHENTICATION ? 0 : 0, type, 0, 0, 0, 0, 0]));
  const send = async (kinds: readonly number[], port: number, type?: number) => {
    const spec = udp(client, server, "ipv6", [5000, port]);
    return (await datapath.fromPod(client, { ...spec, ip: { ...spec.ip, options: chain(kinds, type), firstHeader: kinds[0] ?? UDP } }))
      .reason;
  };

  it("hide no port", async () => {
    for (const kinds of [[HOP_BY_HOP], [DESTINATION], [HOP_BY_HOP, DESTINATION], [HOP_BY_HOP, DESTINATION, ROUTING, DESTINATION]]) {
      assert.equal(await send(kinds, 53), undefined, `chain ${kinds}`);
      assert.equal(await send(kinds, 54), "POLICY_DENIED", `chain ${kinds}`);
    }
  });

  it("are refused when there are too many, or one of them is source routing", async () => {
    assert.equal(await send(new Array<number>(7).fill(DESTINATION), 53), "INVALID_IPV6_EXTENSION_HEADER");
    assert.equal(await send([ROUTING], 53, 0), "INVALID_IPV6_EXTENSION_HEADER");
  });

  it("are refused when they run over the end", async () => {
    const spec = udp(client, server, "ipv6", [5000, 53]);
    const options = Uint8Array.of(UDP, 200, 0, 0, 0, 0, 0, 0);
    const outcome = await datapath.fromPod(client, { ...spec, ip: { ...spec.ip, options, firstHeader: DESTINATION } });
    assert.equal(outcome.reason, "INVALID_IPV6_EXTENSION_HEADER");
  });

  it("IPv4 source routing is refused, wherever among the options, and options that run over their end", async () => {
    const send4 = async (options: readonly number[]) => {
      const spec = udp(client, server, "ipv4", [5000, 53]);
      return (await datapath.fromPod(client, { ...spec, ip: { ...spec.ip, options: Uint8Array.from(options) } })).reason;
    };
    const RECORD_ROUTE = [7, 7, 4, 0, 0, 0, 0];
    assert.equal(await send4([...RECORD_ROUTE, 0]), undefined);
    for (const kind of [131, 137]) {
      assert.equal(await send4([kind, 7, 4, 10, 0, 0, 1, 0]), "INVALID_PACKET");
      assert.equal(await send4([1, ...RECORD_ROUTE, 1, kind, 7, 4, 10, 0, 0, 1]), "INVALID_PACKET");
    }
    assert.equal(await send4([7, 9, 4, 0]), "INVALID_PACKET");
    assert.equal(await send4([7, 0, 0, 0]), "INVALID_PACKET");
    assert.equal(await send4([0, 131, 7, 4]), undefined, "what follows the end is no option");
  });

  it("IPv4 options hide no port either", async () => {
    for (const length of [4, 20, 40]) {
      for (const port of [53, 54]) {
        const spec = udp(client, server, "ipv4", [5000, port]);
        const outcome = await datapath.fromPod(client, { ...spec, ip: { ...spec.ip, options: new Uint8Array(length).fill(1) } });
        assert.equal(outcome.reason, port === 53 ? undefined : "POLICY_DENIED");
      }
    }
  });
});
