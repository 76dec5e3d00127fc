import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { decode, encode, type Packet } from "dns-packet";
import { createAccessStream } from "#proxy/control/access-stream.ts";
import { DEFAULT_DNS_PROXY_CONFIG, type DnsProxy, startDnsProxy } from "#proxy/dns/dns-proxy.ts";
import type { Grant, GrantMap } from "#proxy/dns/grants.ts";
import { connectionKey } from "#proxy/dns/live-connections.ts";
import { DNS_PROXY_PORT, type DnsAccessMessage, type DnsEndpoint, type DnsPolicyMessage, type DnsSettings } from "#proxy/dns/protocol.ts";
import { framed, MessageReader } from "#proxy/dns/stream.ts";
import { createIpcacheLookup } from "#proxy/kernel/identities.ts";
import { silentLogger } from "#runtime/logger.ts";
import { monotonicNs } from "#sys/clock.ts";
import { datagram } from "#sys/socket.ts";
import type { IpAddress } from "#types/addr.ts";
import { reservedIdentity } from "#types/identity.ts";
import { ask, askByTcp, type Mangle, question, type Respond, serveDns } from "./dns-peers.ts";
import { dial, type Family, RealNode, type RealPod } from "./nodes.ts";

const [TCP, UDP] = [6, 17];
/** `perl FLOOD ADDRESS PORT COUNT` */
const FLOOD = new URL("flood.pl", import.meta.url).pathname;
const ANY: Readonly<Record<Family, string>> = { ipv4: "0.0.0.0", ipv6: "::" };
/** Answers of 60 kB that no socket's buffers hold. */
const MANY = 1000;
const SETTINGS: DnsSettings = { rejectWith: "refused", minTtl: 0, maxIpsPerName: 1000, maxDeferred: 100, grace: 0, maxCalls: 0 };
const STRIPE = 0x0100_0001;
const now = () => Number(monotonicNs() / 1_000_000_000n);

/** The id of a message that may not be readable. */
const idOf = (message: Buffer) => message.readUInt16BE(0);

/** dns-packet's types do not have it. */
const rcodeOf = (packet: Packet) => (packet as { readonly rcode?: string }).rcode;

/** Eight bits of a name's hash as an address: each name has its own. */
const addressOf = (name: string) => `198.51.100.${[...name.toLowerCase()].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) % 250, 7)}`;

describe("DNS policy through real sockets", { skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
  const directory = mkdtempSync(join(tmpdir(), "dns-proxy-"));
  const nodes: RealNode[] = [];
  const servers: AsyncDisposable[] = [];
  const records: DnsAccessMessage[] = [];
  const granted = new Map<string, readonly Grant[]>();
  const seen: string[] = [];
  let pods: { readonly near: RealPod; readonly client: RealPod; readonly flooder: RealPod; readonly far: RealPod };
  let proxy: DnsProxy;
  let live: ReadonlySet<string> = new Set();
  let revision = 0;
  let mangle: Mangle = (answer) => [answer];

  const grants: GrantMap = {
    set: (id, ip, list) => void granted.set(connectionKey(id, ip), list),
    setMany: (id, entries) => {
      for (const [ip, list] of entries) grants.set(id, ip, list);
    },
    get: (id, ip) => granted.get(connectionKey(id, ip)) ?? [],
    usedAt: () => 0,
    setUsed: () => undefined,
    delete: (id, ips) => ips.forEach((one) => void granted.delete(connectionKey(id, one))),
    refresh: () => undefined,
    *entries() {},
  };
  const respond: Respond = (query) => {
    const [{ name = "", type = "A" } = {}] = query.questions ?? [];
    if (type === "AAAA") return [{ type: "AAAA", name, data: "2001:db8::9", ttl: 60 }];
    if (name.startsWith("huge.")) return [{ type: "TXT", name, data: Array.from({ length: 230 }, () => "x".repeat(255)), ttl: 60 }];
    return [{ type: "A", name, data: addressOf(name), ttl: 60 }];
  };
  const setPolicy = (changes: Partial<DnsEndpoint> = {}, settings = SETTINGS) => {
    const { client } = pods;
    const rules = [
      {
        identities: null,
        names: [{ matchPattern: "*.stripe.com" }],
        origins: [{ kind: "CiliumNetworkPolicy", namespace: "shop", name: "egress" }],
      },
    ];
    const endpoint: DnsEndpoint = {
      ...{ id: client.lxcId, key: "one", identity: client.identity, ips: [client.ipv4, client.ipv6] },
      ports: [{ port: 53, protocol: 0, rules }],
      selectors: [{ matchPattern: "*.stripe.com", identity: STRIPE }],
      ...changes,
    };
    revision += 1;
    const policy: DnsPolicyMessage = { type: "dns-policy", revision, settings, endpoints: [endpoint] };
    proxy.handlers["dns-policy"]?.(policy, (answer) => assert.equal(answer.type, "ack", JSON.stringify(answer)));
  };
  const start = async () => {
    const [one] = nodes as [RealNode];
    const stream = createAccessStream(1000, () => undefined);
    const lookup = createIpcacheLookup(one.maps.ipcache, one.maps.prefixes);
    proxy = await startDnsProxy(
      {
        ...{ log: silentLogger, grants, now, findLive: async () => live },
        identityOf: (ip) => (ip === one.ipv6 ? reservedIdentity.world : lookup.identityOf(ip)),
        records: { ...stream, push: (record) => void (record.type === "dns-access" && records.push(record)) },
      },
      {
        ...DEFAULT_DNS_PROXY_CONFIG,
        ipv6: true,
        statePath: join(directory, "policy"),
        cachePath: join(directory, "cache"),
        netns: one.netns,
      },
    );
  };

  before(async () => {
    nodes.push(new RealNode("dns", 1), new RealNode("dns", 2));
    const [one, two] = nodes as [RealNode, RealNode];
    RealNode.connect(one, two);
    for (const node of nodes) node.start();
    const rules = [TCP, UDP].map((protocol) => ({ protocol, port: 53, proxyPort: DNS_PROXY_PORT }));
    pods = {
      near: one.addPod("dnsnear", 40_001),
      client: one.addPod("dnsclient", 40_002, { egress: rules }),
      flooder: one.addPod("dnsflooder", 40_002, { egress: rules }),
      far: two.addPod("dnsfar", 40_003),
    };
    for (const node of nodes) node.learn(nodes);
    for (const pod of [pods.near, pods.far, one]) servers.push(await serveDns(pod, respond, (answer) => mangle(answer), seen));
    await start();
    setPolicy();
  });
  after(async () => {
    await proxy?.[Symbol.asyncDispose]();
    for (const server of servers) await server[Symbol.asyncDispose]();
    for (const node of nodes) node[Symbol.dispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  for (const family of ["ipv4", "ipv6"] as const) {
    for (const place of ["near", "far"] as const) {
      it(`answers what is allowed with the client's id and letters, and the server sees the client: ${family}, ${place}`, async () => {
        seen.length = 0;
        const answer = decode(await ask(pods.client, pods[place][family], question("aPi.StRiPe.com", 4711)));
        assert.deepEqual([answer.id, answer.questions?.[0]?.name], [4711, "aPi.StRiPe.com"]);
        assert.deepEqual(
          answer.answers?.map((one) => (one as { data: unknown }).data),
          [addressOf("api.stripe.com")],
        );
        assert.deepEqual([...new Set(seen)], [pods.client[family]]);
      });

      it(`does so by TCP, several questions on one connection: ${family}, ${place}`, async () => {
        const ids = [1, 2, 2, 3];
        const answers = await askByTcp(pods.client, pods[place][family], ...ids.map((id) => question(`n${id}.stripe.com`, id)));
        assert.deepEqual(answers.map((one) => decode(one).id).sort(), ids);
      });
    }

    it(`refuses other names, by the setting's code, and says why: ${family}`, async () => {
      records.length = 0;
      const refused = decode(await ask(pods.client, pods.far[family], question("api.paypal.com")));
      assert.equal(rcodeOf(refused), "REFUSED");
      assert.deepEqual([records[0]?.verdict, records[0]?.dns.query], ["DROPPED", "api.paypal.com."]);
      assert.deepEqual(records[0]?.denied?.nearest[0]?.mismatches, [{ field: "name", wanted: "*.stripe.com", found: "api.paypal.com." }]);
      setPolicy({}, { ...SETTINGS, rejectWith: "nameError" });
      const missing = decode(await ask(pods.client, pods.far[family], question("api.paypal.com")));
      assert.equal(rcodeOf(missing), "NXDOMAIN");
      setPolicy();
    });
  }

  it("asks a server that is a process of the node itself", async () => {
    const [node] = nodes as [RealNode];
    const answer = decode(await ask(pods.client, node.ipv4, question("node.stripe.com")));
    assert.equal(answer.answers?.length, 1);
    assert.equal((await askByTcp(pods.client, node.ipv4, question("node.stripe.com"))).length, 1);
  });

  it("knows a server outside by the names its client has learned for it", async () => {
    const [{ ipv6: server }] = nodes as [RealNode];
    const resolver = 0x0100_0002;
    const key = connectionKey(pods.client.lxcId, server);
    const origins = [{ kind: "CiliumNetworkPolicy", namespace: "shop", name: "resolver" }];
    const rule = { identities: [resolver], names: [{ matchPattern: "*.stripe.com" }], origins };
    setPolicy({ ports: [{ port: 53, protocol: 0, rules: [rule] }] });
    const rcode = async (name: string) => rcodeOf(decode(await ask(pods.client, server, question(name))));
    assert.equal(await rcode("api.stripe.com"), "REFUSED");
    granted.set(key, [{ identity: STRIPE, expires: now() + 60 }]);
    assert.equal(await rcode("api.stripe.com"), "REFUSED");
    granted.set(key, [{ identity: resolver, expires: now() + 60 }]);
    assert.equal(await rcode("api.stripe.com"), "NOERROR");
    assert.equal(await rcode("api.paypal.com"), "REFUSED");
    granted.delete(key);
    setPolicy();
  });

  it("tells the kernel of the addresses before the answer is there", async () => {
    granted.clear();
    const name = "fresh.stripe.com";
    await ask(pods.client, pods.near.ipv4, question(name));
    const [grant] = granted.get(connectionKey(pods.client.lxcId, addressOf(name) as IpAddress)) ?? [];
    assert.equal(grant?.identity, STRIPE);
    assert.ok(grant.expires >= now() + 60 && grant.expires <= now() + 70);
  });

  it("withholds an answer whose addresses the kernel does not take", async () => {
    const set = grants.set;
    Object.assign(grants, {
      set: () => {
        throw new Error("full");
      },
    });
    const answer = decode(await ask(pods.client, pods.near.ipv4, question("withheld.stripe.com")));
    Object.assign(grants, { set });
    assert.deepEqual([rcodeOf(answer), answer.answers], ["SERVFAIL", []]);
  });

  it("takes no answer with another id or to another question", async () => {
    const before = proxy.counters.unasked;
    mangle = (answer) => {
      const [otherId, otherName] = [Buffer.from(answer), Buffer.from(answer)];
      otherId.writeUInt16BE(answer.readUInt16BE(0) ^ 1, 0);
      otherName.write("evil", 13);
      return [otherId, otherName, answer];
    };
    const answer = decode(await ask(pods.client, pods.far.ipv4, question("true.stripe.com")));
    mangle = (one) => [one];
    assert.equal(answer.questions?.[0]?.name, "true.stripe.com");
    assert.equal(proxy.counters.unasked, before + 2);
  });

  it("answers by TCP, before it ends, who has connected and is about to ask", async () => {
    const socket = await dial(pods.client.netns, pods.near.ipv4, 53, 3000);
    while (proxy.status().connections === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const reader = new MessageReader();
    const answered = new Promise<Packet | undefined>((resolve) => {
      socket.on("data", (chunk: Buffer) => reader.push(chunk).forEach((one) => void resolve(decode(one))));
      socket.on("close", () => resolve(undefined));
    });
    const ended = proxy[Symbol.asyncDispose]();
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.write(framed(question("late.stripe.com")));
    try {
      assert.equal((await answered)?.answers?.length, 1);
    } finally {
      await ended;
      await start();
      setPolicy();
    }
  });

  it("waits by TCP with a client that does not read, and answers all when it does", async () => {
    const before = proxy.counters.answered;
    const socket = await dial(pods.client.netns, pods.near.ipv4, 53, 3000);
    for (let id = 0; id < MANY; id++) socket.write(framed(question("huge.stripe.com", id)));
    for (let seen = -1; seen !== proxy.counters.answered || seen === before; ) {
      seen = proxy.counters.answered;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    const early = proxy.counters.answered - before;
    const reader = new MessageReader();
    let answers = 0;
    await new Promise<void>((resolve, reject) => {
      socket.on("close", () => reject(new Error(`${answers} answers`)));
      socket.on("data", (chunk: Buffer) => {
        answers += reader.push(chunk).length;
        if (answers === MANY) resolve();
      });
    });
    socket.destroy();
    assert.ok(early < MANY / 2, `${early} answers before any was read`);
  });

  it("hangs up by TCP when the server does, and says so", async () => {
    mangle = () => [];
    records.length = 0;
    await assert.rejects(askByTcp(pods.client, pods.far.ipv4, question("gone.stripe.com")), /closed/);
    mangle = (one) => [one];
    assert.deepEqual(
      records.map(({ verdict, dns, error }) => [verdict, dns.query, error]),
      [
        ["FORWARDED", "gone.stripe.com.", undefined],
        ["ERROR", "gone.stripe.com.", "the server did not answer"],
      ],
    );
  });

  it("hands a truncated answer on, and the client comes by TCP", async () => {
    mangle = (answer) => {
      const cut = Buffer.from(answer);
      cut[2] = (cut[2] ?? 0) | 2;
      return [cut];
    };
    const answer = decode(await ask(pods.client, pods.far.ipv4, question("long.stripe.com")));
    mangle = (one) => [one];
    assert.equal(answer.flag_tc, true);
    assert.equal((await askByTcp(pods.client, pods.far.ipv4, question("long.stripe.com"))).length, 1);
  });

  it("hands on answers that need fragments", async () => {
    mangle = (answer) => [Buffer.concat([answer, Buffer.alloc(3500)])];
    const answer = await ask(pods.client, pods.near.ipv4, question("big.stripe.com"));
    mangle = (one) => [one];
    assert.ok(answer.length > 3500);
  });

  it("answers what cannot be judged with an error that says so, drops what is no query, and goes on", async () => {
    const questions = [{ type: "A" as const, name: "api.stripe.com" }];
    const ended = Buffer.from(question("api.stripe.com").subarray(0, 20));
    const loop = Buffer.concat([question("a").subarray(0, 12), Buffer.of(0xc0, 12, 0, 1, 0, 1)]);
    const update = question("api.stripe.com");
    update.writeUInt16BE(5 << 11, 2);
    const cases = [
      [encode({ type: "query", id: 9, questions: [...questions, ...questions] }), "FORMERR", "a query must have one question"],
      [encode({ type: "query", id: 9 }), "FORMERR", "a query must have one question"],
      [ended, "FORMERR", "the question cannot be read"],
      [loop, "FORMERR", "the question cannot be read"],
      [update, "NOTIMP", "another operation than a query"],
    ] as const;
    for (const [message, rcode, error] of cases) {
      records.length = 0;
      const [byUdp, byTcp] = [await ask(pods.client, pods.near.ipv4, message), await askByTcp(pods.client, pods.near.ipv4, message)];
      for (const answer of [byUdp, ...byTcp]) assert.deepEqual([rcodeOf(decode(answer)), decode(answer).id], [rcode, idOf(message)]);
      assert.deepEqual([records[0]?.verdict, records[0]?.error, records.at(-1)?.protocol], ["ERROR", error, "TCP"]);
    }
    const stray = encode({ type: "response", id: 9, questions });
    for (const none of [Buffer.from("GET / HTTP"), stray]) await assert.rejects(ask(pods.client, pods.near.ipv4, none, 200));
    assert.ok(await ask(pods.client, pods.near.ipv4, question("on.stripe.com")));
  });

  it("judges a question of another class by its name, and learns nothing from the answer", async () => {
    const chaos = (name: string) => encode({ type: "query", id: 3, questions: [{ type: "TXT", name, class: "CH" }] });
    records.length = 0;
    assert.equal(rcodeOf(decode(await ask(pods.client, pods.near.ipv4, chaos("version.bind")))), "REFUSED");
    assert.deepEqual([records[0]?.verdict, records[0]?.dns.query], ["DROPPED", "version.bind."]);
    granted.clear();
    const answer = decode(await ask(pods.client, pods.near.ipv4, chaos("version.stripe.com")));
    assert.deepEqual([answer.answers?.length, granted.size], [1, 0]);
  });

  it("what one pod asks beyond measure pushes out no other pod's question, and is counted", async () => {
    const socket = createSocket("udp4");
    using _closed = { [Symbol.dispose]: () => void socket.close() };
    const fd = datagram({ host: ANY.ipv4, port: 0, netns: pods.client.netns });
    await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
    await new Promise<void>((resolve) => socket.connect(53, pods.near.ipv4, resolve));
    const answered = new Promise<Buffer>((resolve, reject) => {
      socket.on("message", resolve);
      setTimeout(() => reject(new Error("the question was pushed out")), 10_000).unref();
    });
    const before = proxy.status().shed;
    // Nothing is read meanwhile: it is this process that would.
    const flood = [`--net=${pods.flooder.netns.path}`, "perl", FLOOD, pods.near.ipv4, "53", "20000"];
    execFileSync("nsenter", flood);
    socket.send(question("calm.stripe.com"));
    assert.equal(decode(await answered).answers?.length, 1);
    assert.ok(proxy.status().shed > before);
  });

  it("answers SERVFAIL, and says so, when more is under way than may be", async () => {
    setPolicy({}, { ...SETTINGS, maxCalls: 1 });
    mangle = () => [];
    const waiting = ask(pods.client, pods.near.ipv4, question("slow.stripe.com"), 20_000);
    waiting.catch(() => undefined);
    while (proxy.status().calls === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    records.length = 0;
    const answer = decode(await ask(pods.client, pods.near.ipv4, question("more.stripe.com", 12)));
    assert.deepEqual([rcodeOf(answer), answer.id], ["SERVFAIL", 12]);
    assert.ok(records.some(({ error }) => error === "too many questions are under way"));
    mangle = (one) => [one];
    setPolicy();
    await waiting;
  });

  it("knows the names after a restart, and answers at once with the last policy", async () => {
    await ask(pods.client, pods.near.ipv4, question("kept.stripe.com"));
    await proxy[Symbol.asyncDispose]();
    await assert.rejects(ask(pods.client, pods.near.ipv4, question("away.stripe.com"), 200), "the kernel fails closed");
    granted.clear();
    await start();
    const kept = connectionKey(pods.client.lxcId, addressOf("kept.stripe.com") as IpAddress);
    while (!granted.has(kept)) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(await ask(pods.client, pods.near.ipv4, question("back.stripe.com")));
  });

  it("keeps an address while a connection uses it, and no longer", async () => {
    const name = "short.stripe.com";
    const key = connectionKey(pods.client.lxcId, addressOf(name) as IpAddress);
    await ask(pods.client, pods.near.ipv4, question(name));
    live = new Set([key]);
    const entries = await new Promise((resolve) => proxy.handlers["dns-cache"]?.({ type: "dns-cache" }, resolve));
    assert.ok(JSON.stringify(entries).includes(name));
    assert.ok(granted.has(key));
  });
});
