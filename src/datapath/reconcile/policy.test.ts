import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { maps as specs } from "#datapath/gen/maps.ts";
import { createFakeBpf, type FailureInjector } from "#ebpf/fake.ts";
import { createDeltaLog, type SubjectPolicy } from "#endpoint/subject-policy.ts";
import { labelSet } from "#labels/label-set.ts";
import { parsePolicy } from "#policy/parse/parse.ts";
import { createRepository } from "#policy/resolve/repository.ts";
import { applyIdentityChanges, resolveEndpoint } from "#policy/resolve/resolve.ts";
import { createSelectorCache } from "#policy/selectors/selector-cache.ts";
import { silentLogger } from "#runtime/logger.ts";
import { KernelError } from "#sys/kernel-error.ts";
import { NumericIdentity } from "#types/identity.ts";
import { createCookies } from "../cookies.ts";
import { createPolicyMaps } from "./policy.ts";

const podLabels = (...labels: string[]) =>
  labelSet([...labels, "k8s:io.kubernetes.pod.namespace=default", "k8s:io.cilium.k8s.policy.cluster=default"]);
const WEB = podLabels("k8s:app=web");
const client = (id: number) => ({ id: NumericIdentity(id), labels: podLabels("k8s:app=client", `k8s:n=${id}`) });

function cnp(port: number) {
  return parsePolicy({
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: `web-${port}`, namespace: "default", uid: "u" },
    spec: {
      endpointSelector: { matchLabels: { app: "web" } },
      ingress: [{ fromEndpoints: [{ matchLabels: { app: "client" } }], toPorts: [{ ports: [{ port: String(port), protocol: "TCP" }] }] }],
    },
  });
}

/** A subject whose rules and identities a test changes, and the kernel it ends up in. */
function createWorld(options: { readonly fail?: FailureInjector; readonly maxEntries?: number } = {}) {
  const bpf = createFakeBpf(options.fail ? { fail: options.fail } : {});
  const outer = bpf.createMapOfMaps(specs.ciliumPolicy);
  const config = bpf.createMap(specs.ciliumPolicyConfig);
  const cookies = createCookies();
  const maps = createPolicyMaps(
    { kernel: { outer, config }, cookies, log: silentLogger, expedite: (work) => work() },
    { maxEntries: options.maxEntries ?? 100, proxyPorts: { ingress: 10001, egress: 10002, dns: 10053 } },
  );
  const cache = createSelectorCache();
  cache.update({ add: [{ id: NumericIdentity(300), labels: WEB }, client(399)] });
  let repository = createRepository();
  let version = 0;
  let row: SubjectPolicy | undefined;
  const resolve = (): SubjectPolicy => {
    const policy = resolveEndpoint(repository, cache, { identity: NumericIdentity(300), labels: WEB, namedPorts: [] });
    version += 1;
    row = { key: "300", policy, error: undefined, revision: repository.revision, version, log: createDeltaLog(version) };
    return row;
  };
  return {
    maps,
    outer,
    config,
    cookies,
    setRules(...ports: number[]) {
      return this.setPolicies(...ports.map(cnp));
    },
    setPolicies(...policies: ReturnType<typeof parsePolicy>[]) {
      repository = createRepository().with(...policies);
      return resolve();
    },
    identities(change: Parameters<typeof cache.update>[0]): SubjectPolicy {
      assert.ok(row?.policy);
      const delta = applyIdentityChanges(row.policy, cache, cache.update(change));
      version += 1;
      row.log.push(version, delta);
      row = { ...row, version };
      return row;
    },
    /** What endpoint 7 has in the kernel: `identity port` of what it allows or denies. */
    dump: () =>
      [...(outer.get(7)?.entries() ?? [])]
        .map(([{ secLabel, dport, egress }]) => `${egress ? "egress" : "ingress"} ${secLabel} ${dport}`)
        .sort(),
    expected: () => (row?.policy?.entries() ?? []).map(({ direction, identity, port }) => `${direction} ${identity} ${port}`).sort(),
  };
}

describe("createPolicyMaps", () => {
  it("gives endpoints of one subject one map, and lets each go alone", () => {
    const world = createWorld();
    void world.maps.target.update(world.setRules(80), undefined);
    world.maps.attach({ id: 7, subject: "300", audit: false });
    world.maps.attach({ id: 8, subject: "300", audit: false });
    assert.equal(world.outer.innerId(7), world.outer.innerId(8));
    assert.equal(world.maps.maps, 1);
    world.maps.detach(7);
    assert.equal(world.outer.innerId(7), undefined);
    assert.equal(world.config.get(7)?.generation, 0);
    assert.ok(world.outer.innerId(8));
  });
  it("switches a changed policy in as a whole, with a new generation", () => {
    const world = createWorld();
    void world.maps.target.update(world.setRules(80), undefined);
    world.maps.attach({ id: 7, subject: "300", audit: false });
    const [inner, generation] = [world.outer.innerId(7), world.config.get(7)?.generation ?? 0];
    void world.maps.target.update(world.setRules(80, 443), undefined);
    assert.notEqual(world.outer.innerId(7), inner);
    assert.equal(world.config.get(7)?.generation, generation + 1);
    assert.deepEqual(world.dump(), world.expected());
  });
  it("does not touch the kernel when new rules mean the same", () => {
    const world = createWorld();
    void world.maps.target.update(world.setRules(80), undefined);
    world.maps.attach({ id: 7, subject: "300", audit: false });
    const before = [world.outer.innerId(7), world.config.get(7)];
    void world.maps.target.update(world.setRules(80), undefined);
    assert.deepEqual([world.outer.innerId(7), world.config.get(7)], before);
    assert.equal(world.maps.realized(7)?.revision, 2);
  });
  it("adds identities to the map in use, and judges connections again only when some go", () => {
    const world = createWorld();
    void world.maps.target.update(world.setRules(80), undefined);
    world.maps.attach({ id: 7, subject: "300", audit: false });
    const [inner, generation] = [world.outer.innerId(7), world.config.get(7)?.generation ?? 0];
    void world.maps.target.update(world.identities({ add: [client(400), client(401)] }), undefined);
    assert.deepEqual(world.dump(), world.expected());
    assert.deepEqual([world.outer.innerId(7), world.config.get(7)?.generation], [inner, generation]);
    void world.maps.target.update(world.identities({ remove: [NumericIdentity(400)] }), undefined);
    assert.deepEqual(world.dump(), world.expected());
    assert.deepEqual([world.outer.innerId(7), world.config.get(7)?.generation], [inner, generation + 1]);
  });
  it("locks its endpoints down when a policy does not fit, and lets go when it does again", () => {
    const world = createWorld({ maxEntries: 8 });
    void world.maps.target.update(world.setRules(80), undefined);
    world.maps.attach({ id: 7, subject: "300", audit: false });
    const many = Array.from({ length: 20 }, (_, i) => client(400 + i));
    assert.throws(() => world.maps.target.update(world.identities({ add: many }), undefined), /do not fit into 8/);
    assert.deepEqual(world.dump(), []);
    assert.deepEqual([world.config.get(7)?.ingressEnforced, world.config.get(7)?.ingressDefaultDeny], [1, 1]);
    assert.match(world.maps.realized(7)?.locked ?? "", /do not fit/);
    void world.maps.target.update(world.identities({ remove: many.slice(2).map(({ id }) => id) }), undefined);
    assert.equal(world.maps.realized(7)?.locked, undefined);
    assert.deepEqual(world.dump(), world.expected());
  });
  it("never leaves a part of a policy behind, whichever write fails", () => {
    for (let failing = 1; failing < 40; failing++) {
      let calls = 0;
      let armed = false;
      const fail: FailureInjector = (operation) => {
        if (!armed || operation === "get") return;
        calls += 1;
        if (calls === failing) throw new KernelError("bpf", 28, "injected");
      };
      const world = createWorld({ fail });
      world.maps.target.update(world.setRules(80), undefined);
      world.maps.attach({ id: 7, subject: "300", audit: false });
      const steps = [
        () => world.identities({ add: [client(400)] }),
        () => world.setRules(443),
        () => world.identities({ remove: [NumericIdentity(400)] }),
      ];
      for (const step of steps) {
        const row = step();
        const before = world.dump();
        armed = true;
        let failed = false;
        try {
          world.maps.target.update(row, undefined);
        } catch {
          failed = true;
        }
        armed = false;
        if (!failed) continue;
        const left = world.dump();
        assert.ok(
          left.length === 0 || left.every((line) => world.expected().includes(line) || before.includes(line)),
          `${failing}: ${left}`,
        );
        world.maps.target.update(row, undefined);
      }
      assert.deepEqual(world.dump(), world.expected(), `write ${failing}`);
    }
  });
  it("repairs what somebody else does to the maps, at the next audit", () => {
    const world = createWorld();
    world.maps.target.update(world.setRules(80, 443), undefined);
    world.maps.attach({ id: 7, subject: "300", audit: false });
    const inner = () => world.outer.get(7) ?? assert.fail("no map");
    const before = [...inner().entries()];
    const [first] = before;
    assert.ok(first);
    const config = world.config.get(7);
    assert.ok(config);
    const damages: (() => void)[] = [
      () => inner().delete(first[0]),
      () => inner().set(first[0], { ...first[1], flags: first[1].flags ^ 1 }),
      () => inner().set({ ...first[0], secLabel: 1 }, first[1]),
      () => world.outer.delete(7),
      () => world.outer.set(7, world.outer.createInner()),
      () => world.config.set(7, { ...config, ingressEnforced: 0 }),
      () => world.config.set(7, { ...config, generation: config.generation + 100 }),
    ];
    for (const [i, damage] of damages.entries()) {
      const generation = world.config.get(7)?.generation ?? 0;
      damage();
      world.maps.target.prune?.([]);
      assert.deepEqual([...inner().entries()], before, `damage ${i}`);
      assert.equal(world.config.get(7)?.ingressEnforced, 1);
      assert.notEqual(world.config.get(7)?.generation, generation, "known connections are judged again");
    }
    const [map, generation] = [world.outer.innerId(7), world.config.get(7)?.generation];
    world.maps.target.prune?.([]);
    assert.deepEqual([world.outer.innerId(7), world.config.get(7)?.generation], [map, generation], "what is whole stays");
  });
  it("refuses an endpoint that comes before its policy, and leaves what the kernel had", () => {
    const world = createWorld();
    assert.throws(() => world.maps.attach({ id: 7, subject: "300", audit: false }), /not in the kernel yet/);
    assert.equal(world.config.get(7)?.generation, 0);
  });
  it("sends DNS to the DNS proxy, whatever names its rules allow: answers are learned there", () => {
    for (const pattern of ["*", "*.example.com"]) {
      const world = createWorld();
      const spec = {
        endpointSelector: { matchLabels: { app: "web" } },
        egress: [
          {
            toEndpoints: [{ matchLabels: { app: "client" } }],
            toPorts: [{ ports: [{ port: "53", protocol: "ANY" }], rules: { dns: [{ matchPattern: pattern }] } }],
          },
        ],
      };
      const object = {
        apiVersion: "cilium.io/v2",
        kind: "CiliumNetworkPolicy",
        metadata: { name: "dns", namespace: "default", uid: "u" },
        spec,
      };
      world.maps.target.update(world.setPolicies(parsePolicy(object)), undefined);
      world.maps.attach({ id: 7, subject: "300", audit: false });
      const dns = [...(world.outer.get(7)?.entries() ?? [])].filter(([{ dport, egress }]) => dport === 53 && egress === 1);
      assert.ok(dns.length > 0);
      assert.deepEqual([...new Set(dns.map(([, value]) => value.proxyPort))], [10053], pattern);
    }
  });

  it("takes nothing of a subject that went for the one of its name that comes after", () => {
    const world = createWorld();
    const row = world.setRules(80);
    world.maps.target.update(row, undefined);
    world.maps.attach({ id: 7, subject: "300", audit: false });
    world.maps.target.remove(row);
    const next = world.setRules(443);
    world.maps.target.update({ ...next, version: 1, log: createDeltaLog(1) }, undefined);
    assert.deepEqual(world.dump(), world.expected());
    world.maps.detach(7);
    assert.equal(world.maps.maps, 1);
  });
  it("keeps a policy that nobody computes any more until its last endpoint has another", () => {
    const world = createWorld();
    const row = world.setRules(80);
    void world.maps.target.update(row, undefined);
    world.maps.attach({ id: 7, subject: "300", audit: false });
    void world.maps.target.update({ ...row, key: "301" }, undefined);
    void world.maps.target.remove(row);
    assert.deepEqual(world.dump(), world.expected());
    world.maps.attach({ id: 7, subject: "301", audit: false });
    assert.equal(world.maps.maps, 1);
  });
});
