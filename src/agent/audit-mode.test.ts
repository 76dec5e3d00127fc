import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as kinds from "#k8s/resources.ts";
import { admitted, identityOf, policy, startWorld, until, type World } from "./test-world.ts";

describe("audit mode", () => {
  const AUDIT_ID = 0x10000;
  const annotate = (value: string | null) => ({ metadata: { annotations: { "policy.cilium.io/audit-mode": value } } });
  const configOf = (world: World, name: string, beside = 0) => {
    const id = world.state.endpoints.by("pod", `default/${name}`)[0]?.id ?? 0;
    return world.kernel.datapath.maps.policyConfig.get(id | beside);
  };

  it("of a policy: it denies nothing, is asked beside the others, and denies once the annotation is gone", async () => {
    await using world = await startWorld();
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, policy("kept", "db", "client"));
    await world.add("web");
    await world.add("db");
    const { metadata, spec } = policy("p", "web", "client");
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, {
      metadata: { ...metadata, ...annotate("enabled").metadata },
      spec,
    } as never);
    await until(() => configOf(world, "web")?.audit === 2);
    assert.equal(configOf(world, "web")?.ingressEnforced, 0);
    assert.equal(configOf(world, "web", AUDIT_ID)?.ingressDefaultDeny, 1);
    assert.deepEqual(
      [configOf(world, "db")?.audit, configOf(world, "db")?.ingressDefaultDeny],
      [0, 1],
      "the policy next to it is enforced",
    );
    const before = configOf(world, "web", AUDIT_ID)?.generation;
    await world.add("client");
    const beside = () => world.kernel.datapath.maps.policy.get((world.state.endpoints.by("pod", "default/web")[0]?.id ?? 0) | AUDIT_ID);
    await until(() => [...(beside()?.entries() ?? [])].some(([{ secLabel }]) => secLabel === identityOf(world, "client")));
    assert.equal(configOf(world, "web", AUDIT_ID)?.generation, before, "one more peer is no other policy");
    await world.cluster.patch(kinds.CILIUM_NETWORK_POLICIES, { namespace: "default", name: "p" }, "merge", annotate(null));
    await until(() => configOf(world, "web")?.ingressDefaultDeny === 1);
    await until(() => configOf(world, "web")?.audit === 0 && configOf(world, "web", AUDIT_ID)?.generation === 0);
    assert.ok(admitted(world, "web")?.includes(identityOf(world, "client")));
  });
  it("of a namespace and of one endpoint: nothing of theirs is denied, and it ends when the setting does", async () => {
    await using world = await startWorld();
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, policy("p", "web", "client"));
    await world.add("web");
    assert.equal(configOf(world, "web")?.audit, 0);
    await world.cluster.patch(kinds.NAMESPACES, { name: "default" }, "merge", annotate("enabled"));
    await until(() => configOf(world, "web")?.audit === 1);
    await world.cluster.patch(kinds.NAMESPACES, { name: "default" }, "merge", annotate("disabled"));
    await until(() => configOf(world, "web")?.audit === 0);
    // A slip opens nothing.
    await world.cluster.patch(kinds.NAMESPACES, { name: "default" }, "merge", annotate("enabled"));
    await until(() => configOf(world, "web")?.audit === 1);
    await world.cluster.patch(kinds.NAMESPACES, { name: "default" }, "merge", annotate("enable"));
    await until(() => configOf(world, "web")?.audit === 0);
    const [row] = world.state.endpoints.by("pod", "default/web");
    world.control.setAuditMode(row?.id ?? assert.fail(), true);
    await until(() => configOf(world, "web")?.audit === 1);
  });
  it("of a pod by its own annotation, for as long as that is there", async () => {
    await using world = await startWorld();
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, policy("p", "web", "client"));
    await world.add("web");
    for (const [word, audit] of [
      ["enabled", 1],
      ["enable", 0],
      ["enabled", 1],
      [null, 0],
    ] as const) {
      await world.cluster.patch(kinds.PODS, { namespace: "default", name: "web" }, "merge", annotate(word));
      await until(() => configOf(world, "web")?.audit === audit);
    }
  });
  it("of a policy shows its requests to the proxy, which lets all of them pass; promoted, they are judged", async () => {
    await using world = await startWorld();
    await world.add("web");
    const { metadata, spec } = policy("p", "web", "client");
    const rules = { http: [{ method: "GET" }] };
    const toPorts = [{ ports: [{ port: "80", protocol: "TCP" }], rules }];
    const ingress = [{ fromEndpoints: [{}], toPorts }];
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, {
      metadata: { ...metadata, ...annotate("enabled").metadata },
      spec: { ...spec, ingress },
    } as never);
    const sent = () => world.proxy.sent.at(-1)?.find(({ podName }) => podName === "web");
    const has80 = (ports: readonly { readonly port: number }[] = []) => ports.some(({ port }) => port === 80);
    await until(() => has80(sent()?.audit?.ingress));
    assert.deepEqual(sent()?.ingress, []);
    await world.cluster.patch(kinds.CILIUM_NETWORK_POLICIES, { namespace: "default", name: "p" }, "merge", annotate(null));
    await until(() => sent()?.audit === undefined && has80(sent()?.ingress));
  });
  it("spelt wrong, refuses the policy: nobody is cut off by what was meant to be an audit", async () => {
    await using world = await startWorld();
    await world.add("web");
    const { metadata, spec } = policy("p", "web", "client");
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, { metadata: { ...metadata, ...annotate("on").metadata }, spec } as never);
    await until(() => world.state.policies.table.get("CiliumNetworkPolicy/default/p") !== undefined);
    await world.loops.pipeline.settled();
    assert.match(
      world.state.policies.table.get("CiliumNetworkPolicy/default/p")?.parsed.issues[0]?.message ?? "",
      /found "on", allowed are/,
    );
    assert.equal(admitted(world, "web"), undefined);
  });
});
