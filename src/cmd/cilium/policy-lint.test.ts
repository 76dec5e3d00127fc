import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { readObjects } from "./object-files.ts";
import { policyLint } from "./policy-lint.ts";

const directory = mkdtempSync(join(tmpdir(), "cilia-lint-"));
const file = (name: string, text: string) => {
  writeFileSync(join(directory, name), text);
  return join(directory, name);
};
after(() => rmSync(directory, { recursive: true }));

const bad = file(
  "bad.yaml",
  `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: api, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: api } }
  egress:
    - toFQDNs: [{ matchPattern: "*.com" }]
`,
);
const where = { namespace: "kube-system", policies: [bad], failOn: "error" };

describe("policy lint", () => {
  it("prints place, severity, id, rule, explanation and fix, and what it did not look for", async () => {
    const { text, ok } = await policyLint(where);
    assert.match(
      text,
      /bad\.yaml:7:7: warning L11 shop\/api \(egress\) rule 0: the pattern "\*\.com" is a whole top-level domain\n {4}fix: name the domains/,
    );
    assert.match(text, /^1 policy: 0 errors, 3 warnings, 0 info\nno pods are known/m);
    assert.equal(ok, true);
  });

  it("says of a file what it is not, instead of finding nothing wrong with it", async () => {
    const rejects = (path: string, message: RegExp) => assert.rejects(policyLint({ ...where, policies: [path] }), message);
    await rejects(file("notes.txt", "hello world"), /notes\.txt: no Kubernetes objects: needed is YAML or JSON with apiVersion and kind/);
    await rejects(join(directory, "gone.yaml"), /gone\.yaml: there is no such file/);
    await rejects(file("comments.yaml", "# nothing yet\n---\n"), /there is no network policy in .*comments\.yaml/);
  });

  it("finds a policy with a misspelt kind beside another, where the other commands refuse the file", async () => {
    const text = `kind: Service\n---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolcy\nmetadata: { name: p, namespace: shop }\n`;
    const policies = [bad, file("misspelt.yaml", text)];
    const found = await policyLint({ ...where, policies });
    assert.match(found.text, /misspelt\.yaml:4:7: error L00 CiliumNetworkPolcy shop\/p: found .*did you mean "CiliumNetworkPolicy"/);
    assert.equal(found.ok, false);
    assert.throws(() => readObjects(policies), /misspelt\.yaml:4:7: kind: found "CiliumNetworkPolcy".*did you mean "CiliumNetworkPolicy"/);
  });

  it("fails from the severity on that is asked for", async () => {
    assert.equal((await policyLint({ ...where, failOn: "warning" })).ok, false);
    assert.equal((await policyLint({ ...where, failOn: "never" })).ok, true);
    await assert.rejects(policyLint({ ...where, failOn: "worst" }), /--fail-on: found "worst", allowed are error, warning, info, never/);
  });

  it("has the same as JSON and as SARIF", async () => {
    const findings = JSON.parse((await policyLint({ ...where, output: "json" })).text) as { id: string; line: number; fix: string }[];
    assert.deepEqual(
      findings.map(({ id, line }) => [id, line]),
      [
        ["L02", 7],
        ["L11", 7],
        ["L13", 7],
      ],
    );
    const sarif = JSON.parse((await policyLint({ ...where, output: "sarif" })).text) as {
      runs: { results: { ruleId: string; locations: unknown }[] }[];
    };
    assert.equal(sarif.runs[0]?.results[1]?.ruleId, "L11");
    assert.match(JSON.stringify(sarif.runs[0]?.results[1]?.locations), /"startLine":7,"startColumn":7/);
  });

  it("names the line of a flow file that is none", async () => {
    await assert.rejects(policyLint({ ...where, flows: file("flows.json", "\nx\n") }), /flows\.json:2: no flow/);
    await assert.rejects(
      policyLint({ ...where, flows: file("flows.json", '{"flow":{}}\n') }),
      /flows\.json:1: no flow .*neither a source nor/,
    );
  });
});

const guides = [new URL("../../../../shared/walkthroughs/", import.meta.url).pathname].find((path) => existsSync(path));
const node = file("node.yaml", "kind: Node\nmetadata: { name: n1 }\nspec: { podCIDR: 10.244.0.0/24 }\n");
const dns = file(
  "dns.yaml",
  "kind: Deployment\nmetadata: { name: coredns, namespace: kube-system }\nspec: { template: { metadata: { labels: { k8s-app: kube-dns } } } }\n",
);

/** The guides' manifests, and what has to be found in them: all of it, and nothing else. */
const expectations: readonly { readonly name: string; readonly files: readonly string[]; readonly found: readonly string[] }[] = [
  {
    name: "S0, step 3 without the frontend's egress",
    files: [
      "s0/apps.yaml",
      "s0/policies/01-default-deny.yaml",
      "s0/policies/02-allow-dns.yaml",
      "s0/policies/03-allow-frontend-to-backend.yaml",
    ],
    found: ["L19 demo/allow-frontend-to-backend"],
  },
  {
    name: "S0, all steps",
    files: ["s0/apps.yaml", "s0/policies"],
    found: ["L10 demo/backend-egress-restrict", "L19 demo/backend-egress-restrict"],
  },
  {
    name: "S1, a block that has the pods in it",
    files: ["s1/apps.yaml", "s1/01-allow-frontend-to-backend.yaml", "s1/02-backend-egress-policy.yaml"],
    found: ["L04 production/backend-egress-policy"],
  },
  {
    name: "S2, the empty lists",
    files: ["s2/apps.yaml", "s2/06-default-deny.yaml"],
    found: ["L01 shop/default-deny", "L01 shop/default-deny", "L13 shop/default-deny"],
  },
  { name: "S2, a selector that matches nothing", files: ["s2/apps.yaml", "s2/00-no-match.yaml"], found: ["L16 shop/misspelt"] },
  {
    name: "S3, names without a DNS rule",
    files: ["s3/production.yaml", "s3/cnp-payment-egress.yaml"],
    found: ["L02 production/payment-egress", "L11 production/payment-egress"],
  },
  {
    name: "S3, the policy that closes every namespace",
    files: ["s3/production.yaml", "s3/clusterwide/default-deny.yaml"],
    found: ["L21 default-deny"],
  },
  {
    name: "S3, the exercise",
    files: [
      "s3/exercise/1-database.yaml",
      "s3/exercise/2-api.yaml",
      "s3/exercise/3-frontend.yaml",
      "s3/exercise/policy-1-default-deny.yaml",
      "s3/exercise/policy-2-allow-dns.yaml",
    ],
    found: ["L01 default/default-deny", "L01 default/default-deny", "L21 default/allow-dns"],
  },
  {
    name: "S3, an L7 rule without its protocol",
    files: ["s3/exercise/bonus-l7.yaml"],
    found: ["L05 demo/frontend-to-api-l7", "L07 demo/frontend-to-api-l7"],
  },
  {
    name: "S4, the API server on 443",
    files: ["s4/test-app.yaml", "s4/ccnp-allow-dns.yaml", "s4/cnp-ns-dns.yaml", "s4/cnp-default-deny.yaml"],
    found: ["L15 allow-coredns-egress"],
  },
];

describe("policy lint on the guides' manifests", {
  skip: guides === undefined ? "the walkthroughs are not beside the checkout" : false,
}, () => {
  for (const { name, files, found } of expectations) {
    it(name, async () => {
      const paths = files.map((one) => `${guides}${one}`);
      const { text } = await policyLint({ namespace: "kube-system", policies: paths, pods: [node, dns], failOn: "never", output: "json" });
      const findings = JSON.parse(text) as { id: string; policy: { namespace: string; name: string } }[];
      const seen = findings.map(({ id, policy }) => `${id} ${policy.namespace === "" ? "" : `${policy.namespace}/`}${policy.name}`);
      assert.deepEqual(seen.sort(), [...found].sort());
    });
  }
});
