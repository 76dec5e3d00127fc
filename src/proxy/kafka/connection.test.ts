import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { Kafka, type KafkaJSProtocolError, logLevel } from "kafkajs";
import type { KafkaRule, PeerRule } from "../protocol.ts";
import { openDoor } from "../testing/door.ts";
import { createKafkaBroker, type KafkaBroker } from "../testing/kafka-broker.ts";
import { collect, type Loopback, policyOf, startLoopback } from "../testing/loopback.ts";
import { API } from "./api.ts";
import { KafkaWriter } from "./wire.ts";

const kafkaRule = (...kafka: readonly KafkaRule[]): PeerRule => ({
  ...{ identities: null, http: null, parser: "kafka", kafka },
  origins: [{ kind: "CiliumNetworkPolicy", namespace: "d", name: "empire", section: "ingress", index: 0 }],
});

interface Rig extends AsyncDisposable {
  readonly proxy: Loopback;
  readonly broker: KafkaBroker;
  readonly kafka: Kafka;
}

/** kafkajs → proxy → broker. */
async function startRig(...rules: readonly KafkaRule[]): Promise<Rig> {
  const broker = createKafkaBroker();
  const proxy = await startLoopback({ policy: policyOf([kafkaRule(...rules)]), serve: broker.serve });
  const door = await openDoor(proxy);
  broker.port = door.port;
  const kafka = new Kafka({ clientId: "tests", brokers: [`127.0.0.1:${door.port}`], logLevel: logLevel.NOTHING, retry: { retries: 0 } });
  return {
    ...{ proxy, broker, kafka },
    async [Symbol.asyncDispose]() {
      await door[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

/** The error's name by Kafka's own words; undefined when all went well. */
async function errorOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (thrown) {
    const error = thrown as KafkaJSProtocolError & { cause?: KafkaJSProtocolError };
    return error.type ?? error.cause?.type ?? error.message;
  }
}

function denials({ proxy }: Rig): (readonly [string, string, number])[] {
  const kafka = proxy.others.filter((record) => record.type === "kafka-access");
  return kafka.filter(({ verdict }) => verdict === "DROPPED").map(({ kafka: one }) => [one.apiKey, one.topic, one.errorCode] as const);
}

async function send({ kafka }: Rig, topic: string, ...values: readonly string[]): Promise<string | undefined> {
  const producer = kafka.producer();
  await producer.connect();
  const error = await errorOf(producer.send({ topic, messages: values.map((value) => ({ value })) }));
  await producer.disconnect();
  return error;
}

async function receive({ kafka }: Rig, topic: string, count: number): Promise<string[]> {
  const consumer = kafka.consumer({ groupId: "g" });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const values: string[] = [];
  await new Promise<void>((resolve, reject) => {
    consumer.on("consumer.crash", ({ payload }) => reject(payload.error));
    const eachMessage = async ({ message }: { message: { value: Buffer | null } }) => {
      values.push(String(message.value));
      if (values.length === count) resolve();
    };
    consumer.run({ eachMessage, autoCommit: false }).catch(reject);
  });
  await consumer.commitOffsets([{ topic, partition: 0, offset: String(count) }]);
  await consumer.disconnect();
  return values;
}

describe("Kafka through kafkajs", () => {
  it("produces to the topic of the rule, and to no other", async () => {
    await using rig = await startRig({ role: "produce", topic: "deathstar-plans" });
    assert.equal(await send(rig, "deathstar-plans", "tower"), undefined);
    assert.equal(await send(rig, "empire-announce", "all well"), "TOPIC_AUTHORIZATION_FAILED");
    assert.deepEqual(denials(rig), [["metadata", "empire-announce", 29]]);
  });

  it("consumes what others produced, in a group", async () => {
    await using rig = await startRig({ role: "produce", topic: "t" }, { role: "consume", topic: "t" });
    assert.equal(await send(rig, "t", "one", "two"), undefined);
    assert.deepEqual(await receive(rig, "t", 2), ["one", "two"]);
    // The broker offers newer ones, in which topics have numbers.
    assert.ok(rig.broker.seen.includes("1/6"), rig.broker.seen.join());
    assert.ok(rig.broker.seen.includes("0/7"));
  });

  it("does not let a producer consume, nor a consumer produce", async () => {
    await using producing = await startRig({ role: "produce", topic: "t" });
    await assert.rejects(receive(producing, "t", 1), /group coordinator/);
    assert.deepEqual(denials(producing), [["findcoordinator", "", 30]]);
    await using consuming = await startRig({ role: "consume", topic: "t" });
    assert.equal(await send(consuming, "t", "x"), "TOPIC_AUTHORIZATION_FAILED");
    assert.deepEqual(denials(consuming), [["produce", "t", 29]]);
    const record = consuming.proxy.others.find(({ verdict }) => verdict === "DROPPED");
    assert.deepEqual(record?.denied?.nearest[0]?.mismatches, [{ field: "role", wanted: "consume", found: "produce" }]);
    assert.equal(record?.denied?.origins[0]?.name, "empire");
  });

  for (const [name, rule, denied] of [
    ["apiKey", { apiKey: "Produce" }, ["apiversions"]],
    ["clientID", { clientID: "other" }, ["apiversions"]],
    ["apiVersion", { apiVersion: "99" }, ["apiversions"]],
  ] as const) {
    it(`judges by ${name}`, async () => {
      await using rig = await startRig(rule);
      const producer = rig.kafka.producer();
      assert.notEqual(await errorOf(producer.connect()), undefined);
      assert.deepEqual([...new Set(denials(rig).map(([key]) => key))], denied);
    });
  }

  it("allows everything by an empty rule", async () => {
    await using rig = await startRig({});
    assert.equal(await send(rig, "any", "x"), undefined);
  });
});

/** A request's head, ready for its body. */
const request = (key: number, version: number, correlationId = 7) =>
  new KafkaWriter().int16(key).int16(version).int32(correlationId).string("c");

async function exchange(
  rules: readonly KafkaRule[],
  ...pieces: readonly Buffer[]
): Promise<{ readonly answer: Buffer; readonly seen: string[] }> {
  const broker = createKafkaBroker();
  await using proxy = await startLoopback({ policy: policyOf([kafkaRule(...rules)]), serve: broker.serve });
  const client = await proxy.open();
  for (const [i, piece] of pieces.entries()) {
    // Each in a segment of its own.
    if (i > 0) await new Promise((sent) => setImmediate(sent));
    client.write(piece);
  }
  client.end();
  const answer = Buffer.from(await collect(client).ended, "latin1");
  return { answer, seen: broker.seen };
}

const [DESCRIBE_CONFIGS, SHARE_FETCH] = [32, 78];

describe("Kafka, byte by byte", () => {
  const metadata = (correlationId: number, ...topics: readonly string[]) => {
    const writer = request(API.metadata, 1, correlationId);
    return writer.array(topics, (name) => void writer.string(name)).message();
  };

  it("keeps the order of answers when it gives some of them itself", async () => {
    const pipeline = Buffer.concat([metadata(1, "yes"), metadata(2, "no"), metadata(3, "yes"), metadata(4, "no")]);
    const { answer, seen } = await exchange([{ topic: "yes" }], pipeline);
    const order: number[] = [];
    for (let at = 0; at < answer.length; at += 4 + answer.readInt32BE(at)) order.push(answer.readInt32BE(at + 4));
    assert.deepEqual(order, [1, 2, 3, 4]);
    assert.equal(seen.length, 2);
  });

  it("reads requests in whatever pieces they come", async () => {
    const pipeline = Buffer.concat([metadata(1, "yes"), metadata(2, "no"), metadata(3, "yes")]);
    const whole = await exchange([{ topic: "yes" }], pipeline);
    for (let at = 1; at < pipeline.length; at++) {
      const pieces = await exchange([{ topic: "yes" }], pipeline.subarray(0, at), pipeline.subarray(at));
      assert.deepEqual(pieces, whole, `cut at byte ${at}`);
    }
    assert.deepEqual(await exchange([{ topic: "yes" }], ...[...pipeline].map((byte) => Buffer.from([byte]))), whole);
  });

  it("waits for no answer to a produce without acks that it does not read for its topics", async () => {
    const produce = (correlationId: number, acks: number) => {
      const head = request(API.produce, 9, correlationId).int8(1).int8(5).int8(1).int8(0);
      return head.int8(0).int16(acks).int32(1).int8(1).int8(0).message();
    };
    const policy = policyOf([kafkaRule({ apiKey: "produce" })]);
    await using proxy = await startLoopback({ policy, serve: (socket) => void socket.resume() });
    const client = await proxy.open();
    client.write(Buffer.concat([produce(1, 0), metadata(2, "t")]));
    const [answer] = (await once(client, "data")) as [Buffer];
    assert.equal(answer.readInt32BE(4), 2, "the denial of the second does not wait for the first");
    client.destroy();
  });

  it("allows a request of several topics only when every one is", async () => {
    assert.equal((await exchange([{ topic: "a" }, { topic: "b" }], metadata(1, "a", "b"))).seen.length, 1);
    assert.equal((await exchange([{ topic: "a" }], metadata(1, "a", "b"))).seen.length, 0);
  });

  for (const version of [1, 2, 3]) {
    it(`reads where a leader's epoch ended as a consumer's question about a topic, version ${version}`, async () => {
      const ask = (topic: string) => {
        const writer = request(API.offsetForLeaderEpoch, version);
        if (version >= 3) writer.int32(-1);
        const partition = () => {
          for (const part of version >= 2 ? [0, 4, 5] : [0, 5]) writer.int32(part);
        };
        return writer.array([topic], (name) => void writer.string(name).array([0], partition)).message();
      };
      const rules = [{ role: "consume", topic: "yes" }] as const;
      assert.deepEqual((await exchange(rules, ask("yes"))).seen, [`23/${version}`]);
      const { answer, seen } = await exchange(rules, ask("no"));
      assert.deepEqual([answer.readInt16BE(version >= 2 ? 24 : 20), seen], [29, []]);
    });
  }

  it("answers nothing to a denied produce without acks, and passes nothing on", async () => {
    const writer = request(API.produce, 3).string(null).int16(0).int32(1);
    const body = writer.array(
      ["t"],
      (name) => void writer.string(name).array([0], (index) => void writer.int32(index).bytes(Buffer.alloc(70))),
    );
    const { answer, seen } = await exchange([{ topic: "other" }], body.message());
    assert.deepEqual([answer.length, seen], [0, []]);
  });

  it("that is to stop, ends when what is under way is answered", async () => {
    const asked = Promise.withResolvers<() => void>();
    const answer = Buffer.from([0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0]);
    const serve = (socket: Socket) => void socket.once("data", () => asked.resolve(() => socket.write(answer)));
    await using proxy = await startLoopback({ policy: policyOf([kafkaRule({})]), serve, timeouts: { last: 20 } });
    const [client, idle] = [await proxy.open(), await proxy.open()];
    client.write(metadata(1, "t"));
    const reply = await asked.promise;
    const drained = proxy.drain(60_000);
    await collect(idle).ended;
    idle.end();
    const heard = collect(client);
    reply();
    assert.deepEqual(Buffer.from(await heard.ended, "latin1"), answer);
    client.end();
    await drained;
  });

  it("holds no more of unfinished requests than all connections together may", async () => {
    const broker = createKafkaBroker();
    const policy = policyOf([kafkaRule({})]);
    await using proxy = await startLoopback({ policy, serve: broker.serve, heldBytes: 100_000 });
    const unfinished = Buffer.concat([Buffer.from([0, 2, 0, 0]), Buffer.alloc(60_000)]);
    const [first, second] = [await proxy.open(), await proxy.open()];
    first.write(unfinished);
    const ended = collect(second).ended;
    // However many pieces it comes in: together they are too much.
    for (let i = 0; i < 3; i++) second.write(unfinished);
    await ended;
    first.destroy();
    while (proxy.connections > 0) await new Promise((again) => setImmediate(again));
    const third = await proxy.open();
    third.end(Buffer.concat([metadata(1, "t")]));
    assert.ok((await collect(third).ended).length > 0);
  });

  for (const [name, bytes] of [
    ["a newer version than it reads", request(API.fetch, 13).int32(0).message()],
    ["a request that came later and may be about any topic", request(SHARE_FETCH, 1).int32(0).message()],
    ["one about configurations, of topics perhaps", request(DESCRIBE_CONFIGS, 1).int32(0).message()],
    ["a body longer than it says", metadata(1, "yes").fill(0, 10)],
    ["a negative size", Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ["a huge size", Buffer.from([0x7f, 0, 0, 0])],
    ["a list that claims a billion items", request(API.metadata, 1).int32(1_000_000_000).message()],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n")],
  ] as const) {
    it(`ends the connection on ${name}`, async () => {
      const { answer, seen } = await exchange([{ topic: "yes" }], bytes);
      assert.deepEqual([answer.length, seen], [0, []]);
    });
  }
});
