import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { cilium, type Lab, run, startLab } from "./lab.ts";

const HEAD = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: { name: bad, namespace: default }\nspec:\n";

describe("bad input", () => {
  let lab: Lab;
  const directory = mkdtempSync(join(tmpdir(), "bad-input-"));
  const apply = async (text: string) => {
    const file = join(directory, "policy.yaml");
    writeFileSync(file, text);
    return lab.kubectl("apply", "-f", file);
  };
  before(async () => {
    lab = await startLab("--nodes", "1");
  });
  after(async () => {
    await lab?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  const refused: readonly [what: string, spec: string, message: RegExp][] = [
    ["an unknown field", "  endpointSelector: {}\n  ingres: []\n", /unknown field "spec\.ingres"/],
    ["a wrong type", "  endpointSelector: {}\n  ingress: yes\n", /spec\.ingress.*array/],
    ["an unknown entity", "  endpointSelector: {}\n  ingress: [{ fromEntities: [moon] }]\n", /fromEntities\[0\].*moon/],
    [
      "a protocol that does not exist",
      "  endpointSelector: {}\n  ingress: [{ toPorts: [{ ports: [{ port: '80', protocol: TPC }] }] }]\n",
      /protocol.*TPC/,
    ],
    [
      "a port over 65535",
      "  endpointSelector: {}\n  ingress: [{ toPorts: [{ ports: [{ port: '70000', protocol: TCP }] }] }]\n",
      /spec\.ingress\[0\]\.toPorts\[0\]\.ports\[0\]\.port: Invalid value: "70000".*A number from 0 to 65535/,
    ],
    [
      "a CIDR that is none",
      "  endpointSelector: {}\n  egress: [{ toCIDR: ['10.0.0/8'] }]\n",
      /spec\.egress\[0\]\.toCIDR\[0\]: Invalid value: "10\.0\.0\/8": must be a valid cidr/,
    ],
    [
      "a CIDR set entry of two kinds",
      "  endpointSelector: {}\n  egress: [{ toCIDRSet: [{ cidr: 10.0.0.0/8, cidrGroupRef: offices }] }]\n",
      /spec\.egress\[0\]\.toCIDRSet\[0\].*give cidr or cidrGroupRef or cidrGroupSelector/,
    ],
    [
      "a DNS name with a space",
      "  endpointSelector: {}\n  egress: [{ toFQDNs: [{ matchName: 'a b' }] }]\n",
      /spec\.egress\[0\]\.toFQDNs\[0\]\.matchName/,
    ],
    [
      "more ports than fit into a rule",
      `  endpointSelector: {}\n  egress: [{ toPorts: [{ ports: [${Array.from({ length: 41 }, (_, i) => `{ port: '${i + 1}' }`).join(", ")}] }] }]\n`,
      /spec\.egress\[0\]\.toPorts\[0\]\.ports.*at most 40 items/,
    ],
  ];
  for (const [what, spec, message] of refused) {
    it(`refuses ${what} and names the field`, async () => {
      const { code, stderr } = await apply(HEAD + spec);
      assert.equal(code, 1);
      assert.match(stderr, message);
    });
  }

  const invalid: readonly [what: string, spec: string, message: RegExp][] = [
    [
      "an expression that is none",
      "  endpointSelector: {}\n  ingress: [{ toPorts: [{ ports: [{ port: '80', protocol: TCP }], rules: { http: [{ path: '(' }] } }] }]\n",
      /spec\.ingress\[0\].*http\[0\]\.path/,
    ],
    [
      "L7 rules on UDP",
      "  endpointSelector: {}\n  ingress: [{ toPorts: [{ ports: [{ port: '80', protocol: UDP }], rules: { http: [{}] } }] }]\n",
      /TCP/,
    ],
  ];
  for (const [what, spec, message] of invalid) {
    it(`says in the condition Valid what is wrong with ${what}, or refuses it`, async () => {
      const { code, stderr } = await apply(HEAD + spec);
      // At once, as a warning, or as what refuses it.
      assert.match(stderr, message);
      if (code !== 0) return;
      assert.match(stderr, /^Warning: this policy has no effect/m);
      const { code: waited } = await lab.kubectl("wait", "--for=condition=Valid=False", "cnp/bad", "--timeout=90s");
      assert.equal(waited, 0);
      const { stdout } = await lab.kubectl("get", "cnp", "bad", "-o", "jsonpath={.status.conditions[0].message}");
      assert.match(stdout, message);
      await lab.kubectl("delete", "cnp", "bad");
    });
  }

  it("warns at apply of what is legal but not portable, or probably not meant; the condition says the same", async () => {
    const http = "{ ports: [{ port: '80' }], rules: { http: [{ path: /a }] } }";
    const { code, stderr } = await apply(`${HEAD}  endpointSelector: {}\n  ingress:\n  - { fromEndpoints: [], toPorts: [${http}] }\n`);
    assert.equal(code, 0, stderr);
    const warnings = [...stderr.matchAll(/^Warning: (.*)$/gm)].map(([, text = ""]) => text);
    assert.ok(
      warnings.some((one) => /toPorts\[0\]\.ports\[0\]: not portable: .*needs protocol: TCP/.test(one)),
      stderr,
    );
    assert.ok(
      warnings.some((one) => /fromEndpoints: an empty list selects nobody/.test(one)),
      stderr,
    );
    assert.equal((await lab.kubectl("wait", "--for=condition=Valid", "cnp/bad", "--timeout=90s")).code, 0);
    const { stdout } = await lab.kubectl("get", "cnp", "bad", "-o", "jsonpath={.status.conditions[0].message}");
    for (const one of warnings) assert.ok(stdout.includes(one), `${one} is not in ${stdout}`);
    await lab.kubectl("delete", "cnp", "bad");
  });

  it("warns at apply of application rules that another policy makes moot, whichever comes last", async () => {
    const rule = (rules: string) => `  - { fromEndpoints: [{}], toPorts: [{ ports: [{ port: '80', protocol: TCP }]${rules} }] }\n`;
    const named = (name: string, rules: string) =>
      `${HEAD.replace("bad", name)}  endpointSelector: { matchLabels: { app: web } }\n  ingress:\n${rule(rules)}`;
    const [narrow, wide] = [named("narrow", ", rules: { http: [{ method: GET }] }"), named("wide", "")];
    assert.equal((await apply(narrow)).stderr, "");
    assert.match(
      (await apply(wide)).stderr,
      /^Warning: spec\.ingress\[0\]: makes the application rules of default\/narrow \(ingress\) rule 0 moot/m,
    );
    await lab.kubectl("delete", "cnp", "narrow");
    assert.match(
      (await apply(narrow)).stderr,
      /^Warning: spec\.ingress\[0\]: its application rules are moot: default\/wide \(ingress\) rule 0 allows the same/m,
    );
    await lab.kubectl("delete", "cnp", "narrow", "wide");
  });

  it("cilium policy validate names file, line and column, and exits with 1", async () => {
    const file = join(directory, "policy.yaml");
    writeFileSync(file, `${HEAD}  endpointSelector: {}\n  egress:\n    - toCIDR:\n        - 10.0.0/8\n`);
    const { code, stdout } = await cilium("policy", "validate", file);
    assert.equal(code, 1);
    assert.match(stdout, /policy\.yaml:8:\d+: spec\.egress\[0\]\.toCIDR\[0\]/);
  });

  it("a second lab is refused, and the first one goes on", async () => {
    const { code, stderr } = await cilium("lab", "up");
    assert.notEqual(code, 0);
    assert.match(stderr, /lab runs already/);
    assert.equal((await lab.kubectl("get", "nodes")).code, 0);
  });

  it("an API server that does not answer is named", async () => {
    const kubeconfig = join(directory, "kubeconfig");
    const cluster = "{ name: x, cluster: { server: 'http://127.0.0.1:1' } }";
    writeFileSync(
      kubeconfig,
      `current-context: x\nclusters: [${cluster}]\nusers: [{ name: x, user: {} }]\ncontexts: [{ name: x, context: { cluster: x, user: x } }]\n`,
    );
    const { code, stderr } = await run("bin/cilium", ["--kubeconfig", kubeconfig, "status"]);
    assert.equal(code, 1);
    assert.match(stderr, /cannot reach the API server at http:\/\/127\.0\.0\.1:1/);
  });
});
