import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Datapath, openDatapath } from "./harness.ts";
import type { Pod } from "./maps.ts";
import { ACK, CLIENT, type Family, families, outside, SERVER, TCP, tcp } from "./words.ts";

const NAME = 0x0100_0007;
const OTHER_NAME = 0x0100_0008;
const BLOCK = 0x0100_0009;
const PORT = 443;
const FOREVER = 0xffff_ffff;

/** What an endpoint has learned by name opens the addresses for it, as the rules for that name say. */
describe("addresses learned by name", () => {
  let datapath: Datapath;
  let client: Pod;
  let other: Pod;
  before(() => {
    datapath = openDatapath();
    client = datapath.addPod("client", CLIENT);
    other = datapath.addPod("other", SERVER);
  });
  after(() => datapath[Symbol.asyncDispose]());

  const send = (family: Family, port = PORT, from = client, flags?: number) =>
    datapath.fromPod(from, tcp(from, outside, family, [40000, port], ...(flags === undefined ? [] : [flags])));
  const allow = (peer: number, more: object = {}) => ({ peer, protocol: TCP, port: PORT, cookie: 7, ...more });
  const learn = (family: Family, ...grants: readonly (readonly [number, number])[]) => datapath.maps.learn(client, outside[family], grants);
  const begin = (...rules: readonly object[]) => {
    datapath.maps.ct.clear();
    datapath.maps.prefixes.clear();
    datapath.maps.names.clear();
    datapath.maps.setPolicy(client, { egress: rules });
    datapath.maps.setPolicy(other, { egress: rules });
  };

  for (const family of families) {
    it(`open for that name's rules only, and the record names it: ${family}`, async () => {
      begin(allow(NAME));
      assert.equal((await send(family)).reason, "POLICY_DENIED");
      learn(family, [NAME, FOREVER]);
      const { reason, events } = await send(family);
      assert.equal(reason, undefined);
      const verdict = events.find(({ type }) => type === 5);
      assert.deepEqual([verdict?.dstId, verdict?.cookie], [NAME, 7]);
      assert.equal((await send(family, 80)).reason, "POLICY_DENIED");
    });

    it(`open nothing for another pod: ${family}`, async () => {
      begin(allow(NAME));
      learn(family, [NAME, FOREVER]);
      assert.equal((await send(family, PORT, other)).reason, "POLICY_DENIED");
    });

    it(`any of an address's names may open it: ${family}`, async () => {
      begin(allow(OTHER_NAME));
      learn(family, [NAME, FOREVER], [OTHER_NAME, FOREVER]);
      assert.equal((await send(family)).reason, undefined);
    });

    it(`a denial of its block is stronger, an allow of its block stands beside: ${family}`, async () => {
      begin(allow(NAME), allow(BLOCK, { deny: true }));
      datapath.maps.knowPrefix(outside[family], family === "ipv4" ? 24 : 64, BLOCK);
      learn(family, [NAME, FOREVER]);
      assert.equal((await send(family)).reason, "POLICY_DENY");
      datapath.maps.setPolicy(client, { egress: [allow(NAME), allow(BLOCK, { port: 80 })] });
      assert.deepEqual([(await send(family)).reason, (await send(family, 80)).reason], [undefined, undefined]);
    });

    it(`after its time nothing begins, what has begun goes on, also when the policy is written again: ${family}`, async () => {
      begin(allow(NAME));
      learn(family, [NAME, FOREVER]);
      assert.equal((await send(family)).reason, undefined);
      learn(family, [NAME, 1]);
      datapath.maps.setPolicy(client, { egress: [allow(NAME)] });
      assert.equal((await send(family, PORT, client, ACK)).reason, undefined);
      datapath.maps.ct.clear();
      assert.equal((await send(family)).reason, "POLICY_DENIED");
    });

    it(`after its time a connection that may live lets others begin, on the rule's port, for this pod alone: ${family}`, async () => {
      const usedAt = () => datapath.maps.usedAt(client, outside[family]);
      begin(allow(NAME));
      learn(family, [NAME, FOREVER]);
      await send(family, 80);
      assert.equal(usedAt(), 0, "what is denied uses nothing");
      await send(family);
      const used = usedAt() ?? 0;
      assert.ok(used > 0);
      datapath.maps.ct.clear();
      datapath.maps.learn(client, outside[family], [[NAME, 1]], used);
      assert.equal((await send(family)).reason, undefined);
      assert.equal((await send(family, 80)).reason, "POLICY_DENIED");
      assert.equal((await send(family, PORT, other)).reason, "POLICY_DENIED");
    });

    it(`a rule that is gone ends what it had begun: ${family}`, async () => {
      begin(allow(NAME));
      learn(family, [NAME, FOREVER]);
      assert.equal((await send(family)).reason, undefined);
      datapath.maps.setPolicy(client, { egress: [] });
      assert.equal((await send(family, PORT, client, ACK)).reason, "POLICY_DENIED");
    });

    it(`a name's rule may want the proxy: ${family}`, async () => {
      begin(allow(NAME, { proxyPort: 10002 }));
      learn(family, [NAME, FOREVER]);
      assert.equal((await send(family)).traces.at(-1), "TO_PROXY");
    });

    it(`a pod's or a node's address is never opened by a name: ${family}`, async () => {
      begin(allow(NAME));
      datapath.maps.learn(client, other[family], [[NAME, FOREVER]]);
      const toPod = await datapath.fromPod(client, tcp(client, other, family, [40000, PORT]));
      assert.equal(toPod.reason, "POLICY_DENIED");
      datapath.maps.know(outside[family], 6);
      learn(family, [NAME, FOREVER]);
      assert.equal((await send(family)).reason, "POLICY_DENIED");
      datapath.maps.forget(outside[family]);
    });
  }
});
