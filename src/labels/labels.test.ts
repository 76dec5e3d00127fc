import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { identityLabels, parseLabelFilter } from "./identity-labels.ts";
import { labelSet, labelSetFromRecord, labelSetToRecord } from "./label-set.ts";
import { formatRequirement, matches, requirement, selectorOf, unmet } from "./selector.ts";

const web = labelSet(["k8s:app=web", "k8s:canary", "reserved:host"]);

describe("labelSet", () => {
  it("is canonical: equal sets have equal keys", () => {
    assert.equal(labelSet(["reserved:host", "k8s:canary=", "k8s:app=web"]).key, web.key);
    assert.deepEqual(web.texts, ["k8s:app=web", "k8s:canary", "reserved:host"]);
    assert.notEqual(labelSet(["k8s:a=b"]).key, labelSet(["any:a=b"]).key);
  });

  it("goes through the form of CiliumIdentity", () => {
    assert.deepEqual(labelSetToRecord(web), { "k8s:app": "web", "k8s:canary": "", "reserved:host": "" });
    assert.equal(labelSetFromRecord(labelSetToRecord(web)).key, web.key);
  });
});

describe("selectors", () => {
  it("look at any source unless one is named", () => {
    const cases: [ReturnType<typeof requirement>, boolean][] = [
      [requirement("app", "In", ["web"]), true],
      [requirement("k8s:app", "In", ["web"]), true],
      [requirement("any:app", "In", ["web"]), true],
      [requirement("unspec:app", "In", ["web"]), true],
      [requirement("reserved:app", "In", ["web"]), false],
      [requirement("app", "NotIn", ["web", "x"]), false],
      [requirement("tier", "NotIn", ["x"]), true],
      [requirement("canary", "Exists"), true],
      [requirement("tier", "DoesNotExist"), true],
    ];
    for (const [one, wanted] of cases) assert.equal(matches(selectorOf([one]), web), wanted, formatRequirement(one));
  });

  it("say what differs", () => {
    assert.deepEqual(unmet(selectorOf([requirement("app", "In", ["api"]), requirement("tier", "Exists")]), web), [
      "needs app=api, has app=web",
      "needs tier, has no tier",
    ]);
  });
});

describe("identityLabels", () => {
  const pod = {
    labels: {
      app: "web",
      "pod-template-hash": "x",
      "app.kubernetes.io/name": "web",
      "helm.sh/chart": "c",
      "batch.kubernetes.io/job-name": "j",
    },
    namespace: "shop",
    namespaceLabels: { "kubernetes.io/metadata.name": "shop" },
    serviceAccount: "default",
    cluster: "default",
  };

  it("leaves out what differs between replicas", () => {
    assert.deepEqual(identityLabels(pod).texts, [
      "k8s:app=web",
      "k8s:app.kubernetes.io/name=web",
      "k8s:helm.sh/chart=c",
      "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop",
      "k8s:io.cilium.k8s.policy.cluster=default",
      "k8s:io.cilium.k8s.policy.serviceaccount=default",
      "k8s:io.kubernetes.pod.namespace=shop",
    ]);
  });

  it("takes only what the setting names once it names something", () => {
    const texts = identityLabels(pod, parseLabelFilter("k8s:app$")).texts;
    assert.ok(texts.includes("k8s:app=web"));
    assert.ok(!texts.includes("k8s:helm.sh/chart=c"));
    assert.ok(identityLabels(pod, parseLabelFilter("!helm")).texts.every((one) => !one.includes("helm")));
  });
});
