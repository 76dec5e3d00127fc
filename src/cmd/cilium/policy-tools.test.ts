import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { policyDiff } from "./policy-diff.ts";
import { policyExplain } from "./policy-explain.ts";
import { policyMatrix } from "./policy-matrix.ts";

const directory = mkdtempSync(join(tmpdir(), "cilia-policy-"));
const file = (name: string, text: string) => {
  writeFileSync(join(directory, name), text);
  return join(directory, name);
};

const workload = (name: string) =>
  `kind: Deployment\nmetadata: { name: ${name}, namespace: shop }\nspec: { template: { metadata: { labels: { app: ${name} } }, spec: {} } }\n`;
const pods = file("pods.yaml", ["web", "api", '"<b>"'].map(workload).join("---\n"));
const allow = (port: number, more = "") => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: api, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: api } }
  ingress:
    - fromEndpoints: [{ matchLabels: { app: web } }]
      toPorts: [{ ports: [{ port: "${port}", protocol: TCP }]${more} }]
`;
const before = file("before.yaml", allow(80));
const later = file("later.yaml", allow(81));
const restricted = file("restricted.yaml", allow(80, ", rules: { http: [{ method: GET }] }"));
const where = { namespace: "kube-system", pods: [pods] };

after(() => rmSync(directory, { recursive: true }));

describe("policy diff", () => {
  it("groups what became denied, allowed or restricted, and says by its status that something did", async () => {
    const moved = await policyDiff({ ...where, before, after: later });
    assert.equal(moved.text, "Newly denied\n  shop/web → shop/api: 80/TCP\nNewly allowed\n  shop/web → shop/api: 81/TCP\n");
    assert.equal(moved.ok, false);
    assert.match(
      (await policyDiff({ ...where, before, after: restricted })).text,
      /rules changed\n {2}shop\/web → shop\/api: 80\/TCP: only HTTP GET passes/,
    );
    assert.equal((await policyDiff({ ...where, before, after: before })).ok, true);
  });

  it("sees that a rule for all addresses is for those of one family", async () => {
    const dual = file(
      "dual.yaml",
      "kind: ConfigMap\nmetadata: { name: cilium-config }\ndata: { enable-ipv4: 'true', enable-ipv6: 'true' }\n",
    );
    const all = (name: string, ...blocks: string[]) =>
      file(name, allow(80).replace(/fromEndpoints: .*/, `fromCIDR: [${blocks.map((one) => `"${one}"`).join(", ")}]`));
    const [v4, both] = [all("v4.yaml", "0.0.0.0/0"), all("both.yaml", "0.0.0.0/0", "::/0")];
    const { text } = await policyDiff({ ...where, pods: [pods, dual], before: v4, after: both });
    assert.equal(text, "Newly allowed\n  world-ipv6 → shop/api: 80/TCP\n");
  });

  it("takes groups of blocks beside the pods for those of a side that has no others", async () => {
    const group = (block: string) => `kind: CiliumCIDRGroup\nmetadata: { name: g }\nspec: { externalCIDRs: [${block}] }\n`;
    const policy = allow(80).replace(/fromEndpoints: .*/, "fromCIDRSet: [{ cidrGroupRef: g }]");
    const [alone, same, other] = [policy, `${policy}---\n${group("192.0.2.0/24")}`, `${policy}---\n${group("192.0.2.0/25")}`];
    const groups = { ...where, pods: [pods, file("groups.yaml", group("192.0.2.0/24"))], before: file("alone.yaml", alone) };
    assert.equal((await policyDiff({ ...groups, after: file("same.yaml", same) })).ok, true);
    assert.match((await policyDiff({ ...groups, after: file("other.yaml", other) })).text, /^Newly denied\n {2}192.0.2.0\/24 → shop\/api/);
  });

  it("asks for pods when there are none", async () => {
    await assert.rejects(policyDiff({ namespace: "", before, after: later }), /--pods FILE/);
  });
});

describe("policy matrix", () => {
  const matrix = (output?: string, only?: string[]) =>
    policyMatrix({ ...where, policies: [before], ...(output ? { output } : {}), ...(only ? { only } : {}) });

  it("says who may send what to whom in every format", async () => {
    assert.match(await matrix(), /^shop\/web +shop\/api +80\/TCP$/m);
    assert.match(await matrix("csv"), /^"shop\/web","shop\/api","ports","80\/TCP"\r$/m);
    const cells = JSON.parse(await matrix("json")) as { from: string; to: string; kind: string }[];
    assert.ok(cells.some(({ from, to, kind }) => from === "shop/api" && to === "shop/web" && kind === "all"));
    assert.ok(cells.some(({ from, to, kind }) => from === "world" && to === "shop/api" && kind === "none"));
    assert.doesNotMatch(await matrix("csv", ["api"]), /"shop\/web","shop\/web"/);
    await assert.rejects(matrix("csv", ["nobody"]), /--only nobody: nobody's name has that in it; there are .*shop\/api/);
  });

  it("draws a page that needs nothing else, and escapes what the names say", async () => {
    const page = await matrix("html");
    assert.match(page, /<svg [\s\S]*shop\/web → shop\/api: 80\/TCP/);
    assert.doesNotMatch(page, /(src|href)=|@import|url\(/);
    assert.doesNotMatch(page, /<b>/);
  });
});

describe("policy explain", () => {
  const explain = (from: string, to: string, port: string, more = {}) =>
    policyExplain({ ...where, policies: [before], from, to, port, patch: true, ...more });

  it("names the rule, its line, what came nearest and a patch", async () => {
    const { text, ok } = await explain("shop/web", "shop/api", "81");
    assert.equal(ok, false);
    assert.match(text, /DENIED[\s\S]*denied by\n +CiliumNetworkPolicy shop\/api at .*before\.yaml:5:3/);
    assert.match(text, /near miss: shop\/api \(ingress\) rule 0 at .*before\.yaml:7:7\n +needs 80\/TCP, is 81\/TCP/);
    assert.match(text, /apply this \(tried[\s\S]*port: "81"/);
    assert.equal((await explain("shop/web", "shop/api", "80")).ok, true);
  });

  it("has the same as data", async () => {
    const { text } = await explain("shop/web", "shop/api", "81", { output: "json" });
    const { connections } = JSON.parse(text) as {
      connections: { verdict: string; ingress: { nearest: { rule: { place: string } }[] }; patch: { yaml: string } }[];
    };
    assert.equal(connections[0]?.verdict, "denied");
    assert.match(connections[0]?.ingress.nearest[0]?.rule.place ?? "", /before\.yaml:7:7$/);
    assert.match(connections[0]?.patch.yaml ?? "", /allow-web-to-api/);
  });

  it("says that replicas are meant, where a pod may also talk to itself", async () => {
    const one = file("one.yaml", workload("api").replace("spec: {", "spec: { replicas: 1,"));
    assert.match((await explain("shop/api", "shop/api", "80")).text, /DENIED\n +between replicas; what a pod sends to its own address/);
    const { text, ok } = await explain("shop/api", "shop/api", "80", { pods: [one] });
    assert.deepEqual([text, ok], ["shop/api → shop/api 80/TCP: ALLOWED\n  it does not leave the pod: no policy is asked\n", true]);
  });

  it("says what is refused, and where nothing is enforced", async () => {
    const refused = file("refused.yaml", allow(80).replace("fromEndpoints", "fromCIDR").replace("{ matchLabels: { app: web } }", "x"));
    const audited = file(
      "namespace.yaml",
      "kind: Namespace\nmetadata: { name: shop, annotations: { policy.cilium.io/audit-mode: enabled } }\n",
    );
    const { text, ok } = await explain("shop/web", "shop/api", "81", { policies: [refused, audited] });
    assert.equal(ok, true);
    assert.match(
      text,
      /note: CiliumNetworkPolicy\/shop\/api is refused and has no effect: .*refused\.yaml:7:\d+ spec\.ingress\[0\]\.fromCIDR\[0\]/,
    );
    assert.match(text, /note: namespace shop is in audit mode/);
  });

  it("says AUDIT of what an audited policy would deny, and what would allow it later and changes nothing now", async () => {
    const audited = allow(80).replace("namespace: shop", "namespace: shop, annotations: { policy.cilium.io/audit-mode: enabled }");
    const policies = [file("audited.yaml", audited)];
    const { text, ok } = await explain("shop/web", "shop/api", "81", { policies });
    assert.match(
      text,
      /AUDIT[\s\S]*audit: would be denied\n.*cilium policy promote shop\/api\n[\s\S]*denied by\n +CiliumNetworkPolicy shop\/api at/,
    );
    assert.match(text, /when audit mode ends, apply this[\s\S]*enableDefaultDeny:\n +ingress: false/);
    assert.equal(ok, true);
    assert.match((await explain("shop/web", "shop/api", "80", { policies })).text, /ALLOWED/);
    const place = file("ns.yaml", "kind: Namespace\nmetadata: { name: shop, annotations: { policy.cilium.io/audit-mode: enabled } }\n");
    const inPlace = await explain("shop/web", "shop/api", "81", { policies: [before, place] });
    assert.match(inPlace.text, /AUDIT[\s\S]*namespace shop is in audit mode; this ends it: kubectl annotate namespace shop/);
    const { connections } = JSON.parse((await explain("shop/web", "shop/api", "81", { policies, output: "json" })).text);
    assert.deepEqual([connections[0].verdict, connections[0].ingress.auditedPolicies], ["audit", ["CiliumNetworkPolicy/shop/api"]]);
  });

  it("says what is wrong with a question", async () => {
    await assert.rejects(explain("shop/wbe", "shop/api", "80"), /--from: .*did you mean "web"/);
    await assert.rejects(explain("shop/web", "shop/api", "99999"), /--port/);
    await assert.rejects(explain("shop/web", "shop/api", "http"), /has no port named "http"/);
    for (const [flag, more] of [
      ["method", { method: "G T" }],
      ["path", { path: "nope" }],
      ["header", { headers: ["nope"] }],
    ] as const)
      await assert.rejects(explain("shop/web", "shop/api", "80", more), new RegExp(`--${flag}: found`));
    await assert.rejects(explain("shop/web", "shop/api", "80/udp", { method: "GET" }), /--port: .*one of TCP/);
  });
});
