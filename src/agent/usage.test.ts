import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { createCookies } from "#datapath/cookies.ts";
import { UsageOutcome } from "#datapath/gen/enums.ts";
import { maps as specs } from "#datapath/gen/maps.ts";
import type { CtEntry } from "#datapath/gen/structs.ts";
import type { Decided } from "#datapath/usage.ts";
import { createFakeBpf } from "#ebpf/fake.ts";
import { labelSet } from "#labels/label-set.ts";
import { parsePolicy } from "#policy/parse/parse.ts";
import { createRepository } from "#policy/resolve/repository.ts";
import { resolveEndpoint } from "#policy/resolve/resolve.ts";
import type { ParsedPolicy, RuleRef } from "#policy/rule.ts";
import { createSelectorCache } from "#policy/selectors/selector-cache.ts";
import type { AccessRecord } from "#proxy/protocol.ts";
import { silentLogger } from "#runtime/logger.ts";
import { IpAddress } from "#types/addr.ts";
import { NumericIdentity } from "#types/identity.ts";
import { rememberCookiesIn } from "./remembered-cookies.ts";
import type { AgentState } from "./state.ts";
import { createUsage } from "./usage.ts";
import { usageRows, usageSummary } from "./usage-view.ts";

const labels = (app: string) =>
  labelSet([`k8s:app=${app}`, "k8s:io.kubernetes.pod.namespace=default", "k8s:io.cilium.k8s.policy.cluster=default"]);
const cnp = (name: string, ingress: unknown[], more: object = {}): ParsedPolicy =>
  parsePolicy({
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name, namespace: "default" },
    spec: { endpointSelector: { matchLabels: { app: "web" } }, ingress, ...more },
  });
const from = (app: string, ports?: string[]) => ({
  fromEndpoints: [{ matchLabels: { app } }],
  ...(ports && { toPorts: [{ ports: ports.map((port) => ({ port, protocol: "TCP" })) }] }),
});
const rule = (name: string, index: number): RuleRef => ({
  kind: "CiliumNetworkPolicy",
  namespace: "default",
  name,
  section: "ingress",
  index,
  spec: 0,
});

function rowsOf(policies: readonly ParsedPolicy[], decided: (cookieOf: (origins: RuleRef[]) => number) => Decided[]) {
  const cache = createSelectorCache();
  const web = { id: NumericIdentity(300), labels: labels("web") };
  cache.update({ add: [web, { id: NumericIdentity(301), labels: labels("client") }] });
  const repository = createRepository().with(...policies);
  const policy = resolveEndpoint(repository, cache, { identity: web.id, labels: web.labels, namedPorts: [] });
  const cookies = createCookies();
  const toTime = (at: bigint) => `t${at}`;
  const counts = decided((origins) => cookies.of(origins));
  const created = () => "";
  return usageRows({
    repository,
    cache,
    endpoints: [[policy]],
    created,
    origins: (cookie) => cookies.origins(cookie),
    decided: counts,
    toTime,
  });
}
const allowed = (cookie: number, packets: bigint, last: bigint): Decided => ({
  ...{ cookie, egress: false, outcome: 0, layer: 4, packets, bytes: packets * 100n, last },
});

describe("usageRows", () => {
  it("tells a rule that allows nobody on purpose from one whose peers are not there", () => {
    const rows = rowsOf([cnp("p", [{}]), cnp("q", [from("nobody")])], () => []);
    const seen = rows.filter(({ section }) => section === "ingress").map(({ name, entries, empty }) => [name, entries, empty]);
    assert.deepEqual(seen, [
      ["p", 0, true],
      ["q", 0, false],
    ]);
  });

  it("says which rule decides in the stead of another, and which could go", () => {
    const wide = cnp("wide", [{ fromEndpoints: [{}] }]);
    const rows = rowsOf(
      [wide, cnp("narrow", [from("client", ["80"])]), cnp("deny", [], { ingressDeny: [from("client", ["81"])] })],
      () => [],
    );
    const named = (refs: readonly RuleRef[]) => refs.map(({ name, index }) => `${name} ${index}`);
    assert.deepEqual(
      rows
        .filter(({ section }) => section === "ingress")
        .map(({ name, decidedBy, redundantTo }) => [name, named(decidedBy), named(redundantTo)]),
      [
        ["wide", ["narrow 0"], []],
        ["narrow", [], ["wide 0"]],
      ],
    );
    const twins = rowsOf([cnp("a", [from("client", ["80"])]), cnp("b", [from("client", ["80"])])], () => []);
    assert.ok(
      twins.every(({ decidedBy, redundantTo }) => decidedBy.length + redundantTo.length === 0),
      "both count the whole",
    );
    const covered = rowsOf([cnp("denied", [from("client", ["80"])]), cnp("deny", [], { ingressDeny: [from("client")] })], () => []);
    const [row] = covered.filter(({ name }) => name === "denied");
    assert.deepEqual([row?.shadowed, row?.decidedBy.map(({ section }) => section)], [true, ["ingressDeny"]]);
  });

  it("counts requests that audit mode let pass apart from what was allowed", () => {
    const [row] = rowsOf([cnp("p", [from("client", ["80"])])], (cookie) => [
      { ...allowed(cookie([rule("p", 0)]), 3n, 7n), layer: 7, outcome: UsageOutcome.AUDITED },
    ]);
    assert.deepEqual(row?.requests, { allowed: 0, denied: 0, audited: 3 });
  });

  it("adds up all counts of a rule, and counts what rules decided together for each of them", () => {
    const rows = rowsOf([cnp("p", [from("client", ["80"]), from("client", ["443"])])], (cookie) => [
      allowed(cookie([rule("p", 0)]), 3n, 7n),
      allowed(cookie([rule("p", 0), rule("p", 1)]), 2n, 9n),
    ]);
    const seen = rows.map(({ section, index, packets, bytes, lastHit }) => [section, index, packets, bytes, lastHit]);
    assert.deepEqual(seen, [
      ["ingress", 0, 5, 500, "t9"],
      ["ingress", 1, 2, 200, "t9"],
      ["default-deny", -1, 0, 0, ""],
    ]);
  });
  it("tells a rule that others cover from one that matches nobody", () => {
    const rows = rowsOf(
      [cnp("wide", [{}], { ingressDeny: [from("client")] }), cnp("narrow", [from("client", ["80"]), from("nobody")])],
      () => [],
    );
    const note = (name: string, index: number) => {
      const row = rows.find((one) => one.name === name && one.index === index);
      return [row?.entries, row?.shadowed];
    };
    assert.deepEqual(rows.find(({ section }) => section === "ingressDeny")?.entries, 1);
    assert.deepEqual(note("narrow", 0), [0, true]);
    assert.deepEqual(note("narrow", 1), [0, false]);
  });
});

describe("usageSummary", () => {
  it("tells the packets of each rule that decided something, and of default deny, but not what audit mode let pass", () => {
    const policy = cnp("p", [from("client", ["80"]), from("client", ["443"]), from("client", ["22"])]);
    const cookies = createCookies();
    const [first, both] = [cookies.of([rule("p", 0)]), cookies.of([rule("p", 0), rule("p", 1)])];
    const byDefault = cookies.of([policy.ref]);
    const summary = usageSummary({
      repository: createRepository().with(policy),
      endpoints: [],
      origins: (cookie) => cookies.origins(cookie),
      decided: [
        allowed(first, 3n, 7n),
        allowed(both, 2n, 9n),
        { ...allowed(byDefault, 4n, 9n), outcome: UsageOutcome.DENIED },
        { ...allowed(byDefault, 8n, 9n), outcome: UsageOutcome.AUDITED },
      ],
      toTime: (at) => `2026-01-01T00:00:0${at}.5Z`,
    });
    assert.deepEqual(summary["CiliumNetworkPolicy/default/p"]?.rules, { "ingress default deny": 4, "ingress[0]": 5, "ingress[1]": 2 });
  });
});

describe("createUsage", () => {
  const entry = (change: Partial<CtEntry>): CtEntry => ({
    ...{ txPackets: 4n, txBytes: 400n, rxPackets: 3n, rxBytes: 300n, countedPackets: 2n, countedBytes: 200n },
    ...{ lifetime: 0, created: 0, txReported: 5, rxReported: 6, flags: 0, txFlagsSeen: 0, rxFlagsSeen: 0, http: 0, revNat: 0, dport: 80 },
    egress: { generation: 1, remoteId: 0, cookie: 0, auditCookie: 0, lxcId: 0, proxyPort: 0 },
    ingress: { generation: 1, remoteId: 0, cookie: 0, auditCookie: 0, lxcId: 7, proxyPort: 0 },
    ...change,
  });
  const denial = (nearest: RuleRef[]) =>
    ({
      ...{ kind: "request", direction: "ingress", verdict: "DROPPED" },
      denied: {
        origins: [rule("p", 0), rule("p", 1)],
        nearest: nearest.length === 0 ? [] : [{ origins: nearest, mismatches: [] }],
        reason: "policy",
      },
    }) as unknown as AccessRecord;
  const restarted = (maps: Parameters<typeof createUsage>[0]["maps"], path: string) => {
    const cookies = createCookies();
    const rememberedCookies = rememberCookiesIn(path, cookies, silentLogger);
    const repository = createRepository().with(cnp("p", [from("client"), from("other")]));
    const controller = { repository, cache: createSelectorCache(), policyOf: () => undefined, auditedPolicyOf: () => undefined };
    const tables = { endpoints: { list: () => [] }, policies: { table: { get: () => undefined } } };
    const state = { cookies, rememberedCookies, controller, ...tables } as unknown as AgentState;
    const usage = createUsage({ log: silentLogger, maps, state, inUse: () => new Set() });
    const total = async (index: number) => (await usage.rows()).find((row) => row.name === "p" && row.index === index);
    return { cookies, usage, total };
  };
  const directory = mkdtempSync(join(tmpdir(), "usage-"));
  after(() => rmSync(directory, { recursive: true }));
  let files = 0;
  const setUp = () => {
    const path = join(directory, `${++files}.json`);
    const bpf = createFakeBpf();
    const object = bpf.load("fake.o");
    const maps = {
      conntrack: bpf.createMap(specs.ciliumCt),
      usage: object.perCpuMap(specs.ciliumPolicyUsage),
      settled: bpf.createMap(specs.ciliumPolicySettled),
    };
    const address = (last: number) => ({ bytes: Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last]) });
    const key = { low: address(1), high: address(2), lowPort: 1000, highPort: 80, protocol: 6, flags: 0 };
    return { maps, path, key, ...restarted(maps, path) };
  };

  it("counts the same before and after a connection is collected, or its address purged", async () => {
    for (const end of ["collect", "purge"] as const) {
      const { maps, cookies, usage, key, total } = setUp();
      const side = { ...entry({}).ingress, cookie: cookies.of([rule("p", 0)]) };
      maps.conntrack.set(key, entry({ ingress: side }));
      assert.equal((await total(0))?.packets, 5);
      await (end === "collect" ? usage.collect() : usage.purge(IpAddress("10.0.0.2")));
      assert.equal([...maps.conntrack.entries()].length, 0);
      assert.deepEqual([(await total(0))?.packets, (await total(0))?.bytes], [5, 500]);
    }
  });
  it("counts requests for the rules that judged them", async () => {
    const { usage, total } = setUp();
    const message = { type: "access", kind: "request", direction: "ingress", verdict: "FORWARDED", origins: [rule("p", 0)] };
    const access = usage.access as (message: unknown) => void;
    for (let i = 0; i < 3; i += 1) access(message);
    access({ ...message, verdict: "DROPPED", origins: undefined, denied: { origins: [rule("p", 0)], nearest: [], reason: "policy" } });
    access({ ...message, verdict: "AUDIT", origins: undefined, denied: { origins: [rule("p", 0)], nearest: [], reason: "policy" } });
    access({ ...message, kind: "response" });
    assert.deepEqual((await total(0))?.requests, { allowed: 3, denied: 1, audited: 1 });
  });
  it("counts a denied request for the rule that came nearest, not for all that were asked", async () => {
    const { usage, total } = setUp();
    usage.access(denial([rule("p", 1)]));
    assert.deepEqual([(await total(0))?.requests.denied, (await total(1))?.requests.denied], [0, 1]);
    usage.access(denial([]));
    assert.deepEqual([(await total(0))?.requests.denied, (await total(1))?.requests.denied], [1, 2]);
  });
  it("carries on with the counts of requests after a restart, also where no policy map has their rules", async () => {
    const { maps, path, usage, cookies } = setUp();
    usage.access(denial([rule("p", 0), rule("p", 1)]));
    usage.access(denial([rule("p", 1)]));
    usage.flush();
    const [both, second] = [cookies.of([rule("p", 0), rule("p", 1)]), cookies.of([rule("p", 1)])];
    const next = restarted(maps, path);
    await next.usage.collect();
    next.usage.access(denial([rule("p", 1)]));
    assert.deepEqual([(await next.total(0))?.requests.denied, (await next.total(1))?.requests.denied], [1, 3]);
    // Whatever is asked for first: the numbers are those of before.
    assert.deepEqual([next.cookies.of([rule("p", 1)]), next.cookies.of([rule("p", 1), rule("p", 0)])], [second, both]);
  });
  it("remembers only numbers that count something, and starts without what it cannot read", async () => {
    const { maps, path, usage, cookies } = setUp();
    usage.access(denial([rule("gone", 0)]));
    usage.access(denial([rule("p", 1)]));
    await usage.collect();
    const saved = () => (JSON.parse(readFileSync(path, "utf8")) as [number, unknown][]).map(([cookie]) => cookie);
    assert.equal(saved().length, 2);
    const kept = cookies.of([rule("p", 1)]);
    cookies.collect((cookie) => cookie === kept, performance.now() + 10 * 60_000, 5 * 60_000);
    await usage.collect();
    assert.deepEqual(saved(), [kept]);
    for (const junk of ["{", "{}", '[{"cookie":1}]']) {
      writeFileSync(path, junk);
      assert.equal(restarted(maps, path).cookies.size, 0);
    }
  });
  it("keeps the counts of rules that are there, and forgets numbers and counts of those that are gone, after a while", async () => {
    const { maps, cookies, usage, key, total } = setUp();
    const [kept, gone] = [cookies.of([rule("p", 0)]), cookies.of([rule("gone", 0)])];
    for (const [port, cookie] of [
      [1, kept],
      [2, gone],
    ] as const) {
      maps.conntrack.set({ ...key, lowPort: port }, entry({ ingress: { ...entry({}).ingress, cookie } }));
    }
    await usage.collect();
    assert.deepEqual(cookies.origins(gone).length, 1, "an event that names it may still be on its way");
    cookies.collect((cookie) => cookie === kept, performance.now() + 10 * 60_000, 5 * 60_000);
    await usage.collect();
    assert.deepEqual([cookies.origins(gone).length, cookies.size], [0, 1]);
    assert.deepEqual(
      [...maps.settled.entries()].map(([{ cookie }]) => cookie),
      [kept],
    );
    assert.equal((await total(0))?.packets, 5);
  });
});
