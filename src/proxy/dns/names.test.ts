import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { silentLogger } from "#runtime/logger.ts";
import { ERRNO } from "#sys/errno.ts";
import { KernelError } from "#sys/kernel-error.ts";
import { IpAddress } from "#types/addr.ts";
import type { Grant, GrantMap } from "./grants.ts";
import type { JournalLine } from "./journal.ts";
import { connectionKey } from "./live-connections.ts";
import { Names } from "./names.ts";
import type { DnsEndpoint, DnsSettings } from "./protocol.ts";

const [STRIPE, PAYPAL] = [1, 2];
const ip = (n: number) => IpAddress(`198.51.100.${n}`);
const own = (ttl: number, ...ips: number[]) => ips.map((n) => ({ ip: ip(n), ttl }));
const settings: DnsSettings = { rejectWith: "refused", minTtl: 0, maxIpsPerName: 10, maxDeferred: 3, grace: 0, maxCalls: 0 };
const endpoint = (id: number, key = `pod${id}`): DnsEndpoint => ({
  ...{ id, key, identity: 300, ips: [`10.0.0.${id}`], ports: [] },
  selectors: [
    { matchPattern: "*.stripe.com", identity: STRIPE },
    { matchName: "api.paypal.com", identity: PAYPAL },
  ],
});

/** Names over a kernel of a Map, at a clock that is set by hand. */
function createWorld(restored: readonly JournalLine[] = []) {
  const kernel = new Map<string, readonly Grant[]>();
  const used = new Map<string, number>();
  const journal: JournalLine[] = [];
  const world = { now: 100, live: new Set<string>(), kernel, journal };
  const grants: GrantMap = {
    set: (id, address, list) => void kernel.set(connectionKey(id, address), list),
    setMany: (id, entries) => {
      for (const [address, list] of entries) grants.set(id, address, list);
    },
    get: (id, address) => kernel.get(connectionKey(id, address)) ?? [],
    usedAt: (id, address) => used.get(connectionKey(id, address)) ?? 0,
    setUsed: (id, address, at) => void used.set(connectionKey(id, address), at),
    delete: (id, addresses) => {
      for (const key of addresses.map((one) => connectionKey(id, one))) for (const map of [kernel, used]) map.delete(key);
    },
    refresh: () => undefined,
    *entries() {
      for (const [key, list] of [...kernel]) {
        const [id, address] = key.split(" ");
        yield { endpointId: Number(id), ip: IpAddress(address ?? ""), grants: list };
      }
    },
  };
  const deps = { log: silentLogger, grants, journal: (line: JournalLine) => void journal.push(line), now: () => world.now };
  const names = new Names({ ...deps, findLive: async () => world.live });
  names.adopt(restored);
  names.setPolicy({ settings, endpoints: [endpoint(7), endpoint(8)] });
  const has = (id: number, n: number) => kernel.has(connectionKey(id, ip(n)));
  /** Whether a connection may begin, as the kernel says. One that does is noted, and lives until it is taken out of `live`. */
  const connect = (id: number, n: number) => {
    const key = connectionKey(id, ip(n));
    const isOpen = (kernel.get(key) ?? []).some(({ expires }) => world.now < expires || (used.get(key) ?? 0) > 0);
    if (!isOpen) return false;
    used.set(key, world.now);
    world.live.add(key);
    return true;
  };
  const end = (id: number, n: number) => world.live.delete(connectionKey(id, ip(n)));
  return { ...world, world, grants, names, has, connect, end };
}

describe("Names", () => {
  it("lets the endpoint that asked in, and no other", () => {
    const { names, kernel, has } = createWorld();
    names.learn(7, "api.stripe.com.", own(60, 1));
    assert.deepEqual(kernel.get(connectionKey(7, ip(1))), [{ identity: STRIPE, expires: 165 }]);
    assert.ok(!has(8, 1));
  });

  it("opens nothing for names that no rule names, and remembers them for rules to come", () => {
    const { names, has } = createWorld();
    names.learn(7, "other.test.", own(60, 1));
    assert.ok(!has(7, 1));
    const selectors = [{ matchPattern: "*.test", identity: 3 }];
    names.setPolicy({ settings, endpoints: [{ ...endpoint(7), selectors }] });
    assert.ok(has(7, 1));
    names.setPolicy({ settings, endpoints: [{ ...endpoint(7), selectors: [] }] });
    assert.ok(!has(7, 1));
  });

  it("never opens the node itself, its link or a group", () => {
    const { names, kernel } = createWorld();
    const bad = ["127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "ff02::1"];
    names.learn(
      7,
      "rebind.stripe.com.",
      bad.map((one) => ({ ip: IpAddress(one), ttl: 60 })),
    );
    assert.equal(kernel.size, 0);
  });

  it("keeps an expired address open while a connection uses it, without a gap, and closes it after", async () => {
    const { names, world, has, connect, end } = createWorld();
    names.learn(7, "api.stripe.com.", own(10, 1, 2));
    assert.ok(connect(7, 1));
    const pass = (seconds: number) => {
      world.now += seconds;
      names.sweep();
      names.sweep();
    };
    pass(20);
    assert.deepEqual(names.counts(), { names: 0, addresses: 0, deferred: 2 });
    assert.deepEqual([connect(7, 1), connect(7, 2), connect(8, 1)], [true, false, false], "before anybody has looked");
    pass(1);
    await names.collect();
    assert.deepEqual([has(7, 1), has(7, 2)], [true, false]);
    assert.ok(connect(7, 1));
    end(7, 1);
    pass(1);
    await names.collect();
    assert.deepEqual([connect(7, 1), has(7, 1)], [false, true], "closed");
    await names.collect();
    assert.ok(!has(7, 1));
  });

  it("a connection that begins while others are searched for is not overlooked", async () => {
    const { names, world, has, connect, end } = createWorld();
    names.learn(7, "api.stripe.com.", own(10, 1));
    assert.ok(connect(7, 1));
    world.now += 20;
    names.sweep();
    names.sweep();
    end(7, 1);
    const searching = names.collect();
    assert.ok(connect(7, 1));
    end(7, 1);
    await searching;
    assert.ok(connect(7, 1), "the search may have come too early");
    world.now += 1;
    await names.collect();
    assert.ok(has(7, 1));
  });

  it("opens an address again when a connection is found that nobody had noted", async () => {
    const { names, world, connect } = createWorld();
    names.learn(7, "api.stripe.com.", own(10, 1));
    world.live.add(connectionKey(7, ip(1)));
    world.now += 20;
    names.sweep();
    names.sweep();
    assert.ok(!connect(7, 1));
    await names.collect();
    assert.ok(connect(7, 1));
  });

  it("each of an address's names stands for it beyond its time, for the rules of then and for those to come", async () => {
    const { names, world, kernel, connect } = createWorld();
    const identities = () => kernel.get(connectionKey(7, ip(1)))?.map(({ identity }) => identity);
    names.learn(7, "api.stripe.com.", own(10, 1));
    names.learn(7, "api.paypal.com.", own(60, 1));
    assert.ok(connect(7, 1));
    world.now += 20;
    names.sweep();
    names.sweep();
    names.learn(7, "api.paypal.com.", own(60, 1));
    await names.collect();
    assert.deepEqual(identities(), [PAYPAL, STRIPE]);
    const selectors = [{ matchName: "api.stripe.com", identity: 9 }];
    names.setPolicy({ settings, endpoints: [{ ...endpoint(7), selectors }] });
    assert.deepEqual(identities(), [9]);
  });

  it("shows the same times at every look", (context) => {
    const { names } = createWorld();
    names.learn(7, "api.stripe.com.", own(60, 1));
    const looks = [0, 300, 999].map((later) => {
      const clock = context.mock.method(Date, "now", () => 1_000_000_000 + later);
      const shown = [...names.entries()].map(({ lookupTime, expires }) => [lookupTime, expires]);
      clock.mock.restore();
      return JSON.stringify(shown);
    });
    assert.equal(new Set(looks).size, 1);
  });

  it("takes an expired address back when it is learned again", async () => {
    const { names, world, has } = createWorld();
    names.learn(7, "api.stripe.com.", own(10, 1));
    world.now += 20;
    names.sweep();
    names.sweep();
    names.learn(7, "api.stripe.com.", own(10, 1));
    await names.collect();
    assert.ok(has(7, 1));
  });

  it("keeps no more expired addresses than it may", () => {
    const { names, world, kernel } = createWorld();
    names.learn(7, "api.stripe.com.", own(10, 1, 2, 3, 4, 5));
    world.now += 20;
    names.sweep();
    names.sweep();
    assert.deepEqual([names.counts().deferred, kernel.size], [3, 3]);
  });

  it("a name's oldest addresses are given up when there are too many, but not while a connection uses them", async () => {
    const { names, world, has, connect, end } = createWorld();
    names.setPolicy({ settings: { ...settings, maxIpsPerName: 2 }, endpoints: [endpoint(7)] });
    names.learn(7, "api.stripe.com.", own(60, 1, 2));
    names.learn(7, "api.stripe.com.", own(60, 3));
    assert.deepEqual([names.evictions, has(7, 1)], [1, true]);
    await names.collect();
    assert.ok(connect(7, 1), "its time is not over");
    world.now += 100;
    await names.collect();
    assert.ok(connect(7, 1));
    end(7, 1);
    world.now += 1;
    await names.collect();
    assert.ok(!connect(7, 1));
  });

  it("of a name's expired addresses those in use are kept when there are too many", async () => {
    const { names, connect } = createWorld();
    names.setPolicy({ settings: { ...settings, maxIpsPerName: 2 }, endpoints: [endpoint(7)] });
    names.learn(7, "api.stripe.com.", own(10, 1));
    assert.ok(connect(7, 1));
    names.learn(7, "api.stripe.com.", own(60, 2, 3, 4, 5, 6));
    await names.collect();
    assert.deepEqual([1, 2, 3, 4, 5, 6].filter((n) => connect(7, n)).length, 4, "as many in their time, as many beyond");
    assert.ok(connect(7, 1));
  });

  it("of a full map the endpoint that takes most of it gives some up, and the others learn", () => {
    const { names, kernel, grants } = createWorld();
    for (let n = 1; n <= 200; n++) names.learn(7, `n${n}.stripe.com.`, own(60, n));
    const { set } = grants;
    grants.set = (id, address, list) => {
      if (kernel.size >= 200 && !kernel.has(connectionKey(id, address)))
        throw new KernelError("bpf MAP_UPDATE", ERRNO.E2BIG, "cilium_fqdn");
      set(id, address, list);
    };
    names.learn(8, "api.stripe.com.", own(60, 201));
    assert.ok(kernel.has(connectionKey(8, ip(201))));
    assert.ok(kernel.size < 200);
  });

  it("keeps the name of an address that only connections use, and forgets it with that name", () => {
    const { names, world, has } = createWorld();
    names.learn(7, "api.stripe.com.", own(10, 1));
    names.learn(7, "api.paypal.com.", own(10, 2));
    world.now += 20;
    names.sweep();
    names.sweep();
    const known = [...names.entries()].map(({ name, ips, source }) => [name, ...ips, source]);
    assert.deepEqual(known, [
      ["api.stripe.com.", ip(1), "connection"],
      ["api.paypal.com.", ip(2), "connection"],
    ]);
    assert.equal(names.expired, 2);
    names.clean("*.stripe.com");
    assert.deepEqual([has(7, 1), has(7, 2)], [false, true]);
  });

  it("allows an address for longer after its time when that is set", () => {
    const { names, kernel } = createWorld();
    names.setPolicy({ settings: { ...settings, grace: 90 }, endpoints: [endpoint(7)] });
    names.learn(7, "api.stripe.com.", own(10, 1));
    assert.deepEqual(kernel.get(connectionKey(7, ip(1))), [{ identity: STRIPE, expires: 200 }]);
  });

  it("holds to the least time that is set", () => {
    const { names, kernel } = createWorld();
    names.setPolicy({ settings: { ...settings, minTtl: 3600 }, endpoints: [endpoint(7)] });
    names.learn(7, "api.stripe.com.", own(1, 1));
    assert.deepEqual(kernel.get(connectionKey(7, ip(1))), [{ identity: STRIPE, expires: 3705 }]);
  });

  it("an address of two names is closed with the last of them", () => {
    const { names, kernel, has } = createWorld();
    names.learn(7, "api.stripe.com.", own(60, 1));
    names.learn(7, "api.paypal.com.", own(30, 1));
    assert.deepEqual(kernel.get(connectionKey(7, ip(1)))?.length, 2);
    names.clean("*.stripe.com");
    assert.deepEqual(kernel.get(connectionKey(7, ip(1))), [{ identity: PAYPAL, expires: 135 }]);
    names.clean(undefined);
    assert.ok(!has(7, 1));
  });

  it("forgets an endpoint that is gone, and tells nothing to the next one of its number", () => {
    const { names, has } = createWorld();
    names.learn(7, "api.stripe.com.", own(60, 1));
    names.setPolicy({ settings, endpoints: [endpoint(7, "another pod")] });
    assert.ok(!has(7, 1));
  });

  it("what is learned while the journal is read stays, beside what the address was known by before", async () => {
    const line = (name: string, ...ips: number[]): JournalLine => ({
      ...{ endpoint: 7, key: "pod7", name, ttl: 60, lookedUp: 90 },
      ips: ips.map((n) => [ip(n), 150] as const),
    });
    const many = Array.from({ length: 500 }, (_, i) => line(`n${i}.stripe.com.`, 1 + (i % 200)));
    const { names, kernel } = createWorld([...many, line("api.paypal.com.", 250)]);
    kernel.set(connectionKey(7, ip(250)), [{ identity: PAYPAL, expires: 150 }]);
    names.learn(7, "api.stripe.com.", own(60, 250));
    const both = [
      { identity: STRIPE, expires: 165 },
      { identity: PAYPAL, expires: 150 },
    ];
    assert.deepEqual(kernel.get(connectionKey(7, ip(250))), both);
    assert.ok([...names.lines()].length > 400, "what is not read yet is not lost");
    await names.restored;
    assert.deepEqual(kernel.get(connectionKey(7, ip(250))), both);
    assert.deepEqual([names.counts().names, [...names.lines()].length], [502, 502]);
  });

  it("goes on from its journal after a restart, without what has expired or is another pod's", async () => {
    const before = createWorld();
    before.names.learn(7, "api.stripe.com.", own(60, 1));
    before.names.learn(8, "api.paypal.com.", own(60, 3));
    before.names.clean("api.paypal.com");
    const expired = { endpoint: 7, key: "pod7", name: "old.stripe.com.", ttl: 60, lookedUp: 10, ips: [[ip(2), 70] as const] };
    const stranger = { endpoint: 7, key: "former pod", name: "evil.stripe.com.", ttl: 60, lookedUp: 100, ips: [[ip(9), 999] as const] };
    const after = createWorld([...before.journal, expired, stranger]);
    await after.names.restored;
    assert.deepEqual([after.has(7, 1), after.has(7, 2), after.has(8, 3), after.has(7, 9)], [true, false, false, false]);
    const [entry] = [...after.names.entries()];
    assert.deepEqual([entry?.name, entry?.ttl, entry?.source], ["api.stripe.com.", 60, "lookup"]);
  });

  it("goes on after a restart with what only connections use, by its name, and with nothing that nobody explains", async () => {
    const before = createWorld();
    before.names.learn(7, "api.stripe.com.", own(10, 1));
    const after = createWorld(before.journal.map((line) => ({ ...line, ips: [[ip(1), 50] as const, [ip(2), 50] as const] })));
    const grant = [{ identity: STRIPE, expires: 50 }];
    for (const [id, n] of [
      [7, 1],
      [7, 9],
      [9, 9],
    ] as const) {
      after.grants.set(id, ip(n), grant);
      after.grants.setUsed(id, ip(n), 40);
      after.world.live.add(connectionKey(id, ip(n)));
    }
    await after.names.restored;
    const known = [...after.names.entries()].map(({ name, ips, source }) => [name, ...ips, source]);
    assert.deepEqual(known, [
      ["api.stripe.com.", ip(1), "connection"],
      ["", ip(9), "connection"],
    ]);
    assert.deepEqual([after.connect(7, 1), after.connect(7, 2), after.connect(7, 9)], [true, false, false]);
    assert.deepEqual([after.has(7, 9), after.has(9, 9)], [true, false], "what has begun goes on, for a pod that is here");
    const again = createWorld([...after.names.lines()]);
    again.kernel.set(connectionKey(7, ip(1)), grant);
    await again.names.restored;
    assert.deepEqual(
      [...again.names.entries()].map(({ name }) => name),
      ["api.stripe.com."],
    );
  });
});
