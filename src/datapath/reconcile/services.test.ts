import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { maps as specs } from "#datapath/gen/maps.ts";
import { dumpServices } from "#datapath/service-dump.ts";
import { createFakeBpf } from "#ebpf/fake.ts";
import { type Backend, type BackendState, type Frontend, l4Address, serviceName } from "#loadbalancer/types.ts";
import { createMaglevTables } from "./maglev.ts";
import { createServiceTarget, type ServiceMaps } from "./services.ts";

const frontend = (ip: string, backends: readonly Backend[], change: Partial<Frontend> = {}): Frontend => ({
  service: serviceName("demo", "web"),
  portName: "http",
  type: "LoadBalancer",
  address: l4Address(ip, 80, "TCP"),
  backends,
  internalPolicy: "Cluster",
  externalPolicy: "Cluster",
  sourceRanges: [],
  denySourceRanges: false,
  ...change,
});

const backend = (host: number, state: BackendState = "active"): Backend => ({
  address: l4Address(`10.244.1.${host}`, 8080, "TCP"),
  state,
  nodeName: host % 2 === 0 ? "n1" : "n2",
});

/** Maps in memory; `watch` is called before each operation on them. */
function createKernel() {
  let watch = () => {};
  let watching = false;
  const fail = () => {
    if (watching) return;
    watching = true;
    watch();
    watching = false;
  };
  const bpf = createFakeBpf({ fail });
  const maps = {
    services: bpf.createMap(specs.ciliumLbServices),
    backends: bpf.createMap(specs.ciliumLbBackends),
    reverseNat: bpf.createMap(specs.ciliumLbReverseNat),
    sourceRanges: bpf.createMap(specs.ciliumLbSourceRange),
    affinityMatch: bpf.createMap(specs.ciliumLbAffinityMatch),
    maglev: bpf.createMapOfMaps(specs.ciliumLbMaglev),
  };
  const settings = {
    algorithm: "random",
    mode: "snat",
    externalClusterIp: false,
    maglevSize: 251,
    place: () => ({ nodeName: "n1" }),
  } as const;
  const start = () => createServiceTarget(maps, createMaglevTables({ map: maps.maglev, expedite: (work) => work() }, 251), settings);
  const onWrite = (fn: () => void) => {
    watch = fn;
  };
  return { maps, start, onWrite };
}

const states = fc.constantFrom<BackendState>("active", "active", "terminating", "terminating-not-serving", "quarantined");
const backendLists = fc
  .uniqueArray(fc.tuple(fc.integer({ min: 1, max: 6 }), states), { selector: ([host]) => host, maxLength: 4 })
  .map((list) => list.map(([host, state]) => backend(host, state)));
const changes = fc.array(
  fc.record({
    ip: fc.constantFrom("198.51.100.1", "198.51.100.2"),
    backends: fc.option(backendLists, { nil: undefined }),
    local: fc.boolean(),
    affinity: fc.boolean(),
    maglev: fc.boolean(),
  }),
  { minLength: 1, maxLength: 12 },
);

type Step = (typeof changes extends fc.Arbitrary<infer List> ? List : never) extends (infer One)[] ? One : never;

function take(target: ServiceMaps, present: Map<string, Frontend>, { ip, backends, local, affinity, maglev }: Step): void {
  const row = frontend(ip, backends ?? [], {
    externalPolicy: local ? "Local" : "Cluster",
    affinitySeconds: affinity ? 60 : undefined,
    algorithm: maglev ? "maglev" : undefined,
  });
  if (backends) {
    present.set(ip, row);
    target.update(row);
  } else {
    present.delete(ip);
    target.remove(row);
  }
}

describe("createServiceTarget", () => {
  it("shows a reader a whole service at every moment, and leaves nothing behind", () => {
    fc.assert(
      fc.property(changes, (steps) => {
        const { maps, start, onWrite } = createKernel();
        const target = start();
        const present = new Map<string, Frontend>();
        // While a service changes, connections may go where they went before or where they will go.
        const ready = new Map<string, readonly string[]>();
        onWrite(() => assertWhole(dumpServices(maps), ready));
        for (const step of steps) {
          const next = (step.backends ?? [])
            .filter(({ state }) => state === "active" || state === "terminating")
            .map(({ address }) => address.text);
          ready.set(step.ip, [...(ready.get(step.ip) ?? []), ...next]);
          take(target, present, step);
          ready.set(step.ip, next);
        }
        const fresh = createKernel();
        fresh.start().updateMany([...present.values()]);
        assert.deepEqual(withoutNumbers(dumpServices(maps)), withoutNumbers(dumpServices(fresh.maps)));
      }),
      { numRuns: 100 },
    );
  });

  it("keeps numbers over a restart, so that living connections keep their backend", async () => {
    const { maps, start } = createKernel();
    start().update(frontend("198.51.100.1", [backend(1), backend(2)]));
    const before = dumpServices(maps);
    const restarted = start();
    restarted.update(frontend("198.51.100.9", [backend(9)]));
    restarted.update(frontend("198.51.100.1", [backend(2), backend(1)]));
    const after = dumpServices(maps);
    assert.deepEqual(after.backends.slice(0, 2), before.backends);
    assert.deepEqual(after.reverseNat.slice(0, 1), before.reverseNat);
    await restarted.prune([frontend("198.51.100.9", [backend(9)])]);
    assert.deepEqual(
      dumpServices(maps).backends.map(({ address }) => address),
      ["10.244.1.9:8080/TCP"],
    );
  });
});

type Dump = ReturnType<typeof dumpServices>;

/** What the datapath relies on. */
function assertWhole({ slots, backends, maglev, affinity }: Dump, ready: ReadonlyMap<string, readonly string[]>): void {
  for (const head of slots.filter(({ slot }) => slot === 0)) {
    const behind = slots.filter(({ frontend, scope, slot }) => frontend === head.frontend && scope === head.scope && slot > 0);
    for (let slot = 1; slot <= head.count; slot++) {
      const found = behind.find((one) => one.slot === slot);
      assert.ok(found?.backend, `slot ${slot} of ${head.frontend} ${head.scope} has no backend`);
      assert.ok(
        found.flags.includes("quarantined") || ready.get(head.frontend.replace(/:.*/, ""))?.includes(found.backend),
        `slot ${slot} of ${head.frontend} ${head.scope} would give connections to a backend that is not ready`,
      );
    }
    if (head.flags.includes("two-scopes") && head.scope === "external") {
      assert.ok(slots.some(({ frontend, scope, slot }) => frontend === head.frontend && scope === "internal" && slot === 0));
    }
    if (head.flags.includes("maglev") && head.scope === "external") assert.ok(maglev.some(({ id }) => id === head.serviceId));
  }
  for (const { backendId } of affinity)
    assert.ok(
      backends.some(({ id }) => id === backendId),
      "affinity names a backend that is gone",
    );
}

/** Numbers say only which entries belong together. */
function withoutNumbers(dump: Dump): unknown {
  const address = new Map(dump.backends.map(({ id, address }) => [id, address]));
  const service = new Map(dump.slots.map(({ serviceId, frontend }) => [serviceId, frontend]));
  return {
    slots: dump.slots.map(({ serviceId: _, backendId: __, ...rest }) => rest),
    // The state is for people; of two services that disagree the last one counts.
    backends: dump.backends.map(({ address }) => address).sort(),
    reverseNat: dump.reverseNat.map(({ id, address }) => `${service.get(id)} ${address}`).sort(),
    affinity: dump.affinity.map(({ id, backendId }) => `${service.get(id)} ${address.get(backendId)}`).sort(),
    maglev: dump.maglev.map(({ id, size, places }) => [service.get(id), size, Object.entries(places).sort()]).sort(),
  };
}
