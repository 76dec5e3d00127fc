import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createCookies } from "#datapath/cookies.ts";
import { createExpedite } from "#datapath/expedite.ts";
import { maps as specs } from "#datapath/gen/maps.ts";
import { createPolicyMaps, type PolicyMaps } from "#datapath/reconcile/policy.ts";
import { KernelMap } from "#ebpf/map.ts";
import { KernelMapOfMaps } from "#ebpf/map-of-maps.ts";
import { createDeltaLog } from "#endpoint/subject-policy.ts";
import { labelSet } from "#labels/label-set.ts";
import { parsePolicy } from "#policy/parse/parse.ts";
import { createRepository } from "#policy/resolve/repository.ts";
import { resolveEndpoint } from "#policy/resolve/resolve.ts";
import { createSelectorCache } from "#policy/selectors/selector-cache.ts";
import { PROXY_PORTS } from "#proxy/protocol.ts";
import { silentLogger } from "#runtime/logger.ts";
import { NumericIdentity } from "#types/identity.ts";
import { type Datapath, openDatapath } from "./harness.ts";
import type { Pod } from "./maps.ts";
import { CLIENT, OTHER, SERVER, tcp } from "./words.ts";

const labelsOf = (app: string) =>
  labelSet([`k8s:app=${app}`, "k8s:io.kubernetes.pod.namespace=a", "k8s:io.cilium.k8s.policy.cluster=default"]);

/** The server's policy: the client may call port 80. */
function serverPolicy() {
  const cache = createSelectorCache();
  const apps = { client: CLIENT, server: SERVER, other: OTHER };
  cache.update({ add: Object.entries(apps).map(([app, id]) => ({ id: NumericIdentity(id), labels: labelsOf(app) })) });
  const ingress = [{ fromEndpoints: [{ matchLabels: { app: "client" } }], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] }];
  const spec = { endpointSelector: { matchLabels: { app: "server" } }, ingress };
  const repo = createRepository().with(parsePolicy({ kind: "CiliumNetworkPolicy", metadata: { name: "p", namespace: "a" }, spec }));
  return resolveEndpoint(repo, cache, { identity: NumericIdentity(SERVER), labels: labelsOf("server"), namedPorts: [] });
}

describe("what somebody else does to pinned policy maps", () => {
  let datapath: Datapath;
  let maps: PolicyMaps;
  let pods: Readonly<Record<"client" | "other" | "server", Pod>>;
  const outer = () => new KernelMapOfMaps(datapath.maps.policy.fd, specs.ciliumPolicy);
  const config = () => new KernelMap(datapath.maps.policyConfig.fd, specs.ciliumPolicyConfig);
  let port = 41_000;
  const passes = async (from: Pod) => (await datapath.fromPod(from, tcp(from, pods.server, "ipv4", [++port, 80]))).reason === undefined;

  before(() => {
    datapath = openDatapath();
    pods = {
      client: datapath.addPod("client", CLIENT),
      other: datapath.addPod("other", OTHER),
      server: datapath.addPod("server", SERVER),
    };
    const deps = { kernel: { outer: outer(), config: config() }, cookies: createCookies(), log: silentLogger, expedite: createExpedite() };
    maps = createPolicyMaps(deps, { maxEntries: 100, proxyPorts: PROXY_PORTS });
    maps.target.update({ key: "s", policy: serverPolicy(), error: undefined, revision: 1, version: 1, log: createDeltaLog(1) }, undefined);
    maps.attach({ id: pods.server.lxcId, subject: "s", audit: false });
  });
  after(async () => {
    maps[Symbol.dispose]();
    await datapath[Symbol.asyncDispose]();
  });

  const damages: readonly (readonly [what: string, damage: () => void])[] = [
    [
      "deletes the entries",
      () => {
        const inner = outer().get(pods.server.lxcId);
        inner?.deleteMany([...inner.keys()]);
      },
    ],
    [
      "lets others in",
      () => {
        const inner = outer().get(pods.server.lxcId);
        for (const [key, value] of [...(inner?.entries() ?? [])]) inner?.set({ ...key, secLabel: OTHER }, value);
      },
    ],
    ["takes the map away", () => outer().delete(pods.server.lxcId)],
    [
      "switches enforcement off",
      () => {
        const old = config().get(pods.server.lxcId);
        if (old) config().set(pods.server.lxcId, { ...old, ingressEnforced: 0 });
      },
    ],
  ];
  for (const [what, damage] of damages) {
    it(`is repaired by the next audit: ${what}`, async () => {
      assert.deepEqual([await passes(pods.client), await passes(pods.other)], [true, false], "before");
      damage();
      assert.notDeepEqual([await passes(pods.client), await passes(pods.other)], [true, false], "the damage is done");
      maps.target.prune?.([]);
      assert.deepEqual([await passes(pods.client), await passes(pods.other)], [true, false], "after");
    });
  }
});
