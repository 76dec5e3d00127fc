import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Lab, run, startLab } from "./lab.ts";

/** A policy in `tier` for the server of the manifest, about traffic from the client. */
const policy = (name: string, tier: string, action: string, priority = 10) => ({
  apiVersion: "policy.networking.k8s.io/v1alpha2",
  kind: "ClusterNetworkPolicy",
  metadata: { name },
  spec: {
    tier,
    priority,
    subject: { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: "server" } } } },
    ingress: [
      {
        action,
        from: [{ pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: "client" } } } }],
        protocols: [{ tcp: { destinationPort: { number: 7000 } } }],
      },
    ],
  },
});

const allow = {
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "allow", namespace: "tiers" },
  spec: { endpointSelector: { matchLabels: { app: "server" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "client" } }] }] },
};

describe("ClusterNetworkPolicy", () => {
  let lab: Lab;
  let server = "";
  const directory = mkdtempSync(join(tmpdir(), "tiers-"));
  const kubectl = async (...args: string[]) => {
    const outcome = await lab.kubectl(...args);
    assert.equal(outcome.code, 0, `${args.join(" ")}: ${outcome.stdout}${outcome.stderr}`);
    return outcome.stdout;
  };
  const tryApply = (object: object) => {
    const file = join(directory, "policy.json");
    writeFileSync(file, JSON.stringify(object));
    return lab.kubectl("apply", "-f", file);
  };
  const apply = async (object: object) => {
    const { code, stderr } = await tryApply(object);
    assert.equal(code, 0, stderr);
  };
  const passes = async () => (await lab.kubectl("-n", "tiers", "exec", "client", "--", "nc", "-z", "-w", "1", server, "7000")).code === 0;
  /** Tried for ten seconds: policies take a moment. */
  const becomes = async (wanted: boolean) => {
    const end = Date.now() + 10_000;
    while ((await passes()) !== wanted) assert.ok(Date.now() < end, `traffic ${wanted ? "does not pass" : "still passes"}`);
  };

  before(async () => {
    lab = await startLab("--nodes", "1");
    await kubectl("apply", "-f", "test/e2e/manifests/cluster-network-policy.yaml");
    await kubectl("-n", "tiers", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s");
    server = await kubectl("-n", "tiers", "get", "pod", "server", "-o", "jsonpath={.status.podIP}");
    await becomes(true);
  });
  after(async () => {
    await lab?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  it("denies in the tier Baseline what no other policy is about, and not what one allows", async () => {
    await apply(policy("floor", "Baseline", "Deny"));
    await becomes(false);
    await apply(allow);
    await becomes(true);
  });

  it("denies in the tier Admin what a CiliumNetworkPolicy allows; flows, explain and kubectl say so", async () => {
    await apply(policy("gate", "Admin", "Deny"));
    await becomes(false);
    await kubectl("wait", "--for=condition=Valid", "clusternetworkpolicy/gate", "--timeout=90s");
    assert.match(await kubectl("get", "clusternetworkpolicies"), /gate +Admin +10 +True/);
    const { stdout: flows } = await run("bin/hubble", ["observe", "--verdict", "DROPPED", "--to-pod", "tiers/server", "-o", "json"], {
      env: lab.env,
    });
    assert.match(flows, /"kind":"ClusterNetworkPolicy"/);
    const { code, stdout, stderr } = await run(
      "bin/cilium",
      ["policy", "explain", "--from", "tiers/client", "--to", "tiers/server", "--port", "7000"],
      { env: lab.env },
    );
    assert.equal(code, 1, stderr);
    assert.match(stdout, /denied by\n +ClusterNetworkPolicy gate \(ingress\) rule 0[\s\S]*kind: ClusterNetworkPolicy/);
  });

  it("passes on to the next tier by a rule that comes first", async () => {
    await apply(policy("bypass", "Admin", "Pass", 1));
    await becomes(true);
  });

  it("is as it was when the policies are gone", async () => {
    await kubectl("delete", "clusternetworkpolicy", "bypass");
    await becomes(false);
    await kubectl("delete", "clusternetworkpolicy", "gate");
    await becomes(true);
    await kubectl("-n", "tiers", "delete", "cnp", "allow");
    await becomes(false);
    await kubectl("delete", "cnetpol", "floor");
    await becomes(true);
  });

  it("refuses what the schema does not know, and warns of what has no effect", async () => {
    const { code, stderr } = await tryApply(policy("bad", "Admin", "Allow"));
    assert.equal(code, 1);
    assert.match(stderr, /spec\.ingress\[0\]\.action: "Allow" is not Accept, Deny or Pass; did you mean "Accept"\?/);
    const names = policy("names", "Admin", "Deny");
    const to = (peer: object) =>
      tryApply({ ...names, spec: { ...names.spec, ingress: undefined, egress: [{ action: "Deny", to: [peer] }] } });
    const denied = await to({ domainNames: ["example.com"] });
    assert.match(denied.stderr, /spec\.egress\[0\]: .*only be used with action Accept/);
    const warned = await to({ nodes: {} });
    assert.match(warned.stderr, /^Warning: this policy has no effect: spec\.egress\[0\].*needs the agent setting/m);
    await kubectl("wait", "--for=condition=Valid=False", "clusternetworkpolicy/names", "--timeout=90s");
  });
});
