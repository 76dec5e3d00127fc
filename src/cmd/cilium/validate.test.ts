import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DocumentError, objectsIn } from "#policy/world/documents.ts";
import { formatProblem, validateFiles } from "./validate.ts";

const validateDocuments = (file: string, text: string) => validateFiles([{ file, text }]);
const policy = (spec: string, head = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy") =>
  `${head}\nmetadata: { name: p, namespace: ns }\nspec:\n${spec}`;
const GOOD = "  endpointSelector: {}\n  ingress: [{}]\n";
const BAD = "  endpointSelector: {}\n  egress:\n    - toCIDR: [10.0.0/8]\n";

const firstError = (text: string, index = 0) => {
  const error = validateDocuments("f.yaml", text)[index]?.errors[0];
  return error === undefined ? "" : formatProblem(error);
};

describe("validateDocuments", () => {
  it("names file, line and column", () => {
    assert.match(firstError(policy(BAD)), /^f\.yaml:7:16: spec\.egress\[0\]\.toCIDR\[0\]: /);
  });
  it("names every error at once, with what is allowed and what is near", () => {
    const spec =
      "  endpointSelector: {}\n  egress:\n    - toEntities: [wrld]\n      toPorts: [{ ports: [{ port: 99999, protocol: TPC }] }]\n";
    const errors = validateDocuments("f.yaml", policy(spec))[0]?.errors.map(formatProblem) ?? [];
    assert.ok(errors.length >= 2, errors.join("\n"));
    assert.match(
      errors.join("\n"),
      /f\.yaml:7:20: spec\.egress\[0\]\.toEntities\[0\]: "wrld" is not an entity; allowed are all, .*did you mean "world"/,
    );
    assert.match(errors.join("\n"), /:8:\d+: spec\.egress\[0\]\.toPorts\[0\]\.ports\[0\]/);
  });
  it("says what is wrong with the port beside what is wrong with its protocol, and each thing once", () => {
    const portErrors = (port: string) =>
      validateDocuments("f.yaml", policy(`  endpointSelector: {}\n  egress: [{ toPorts: [{ ports: [${port}] }] }]\n`))[0]?.errors.map(
        ({ path, message }) => `${path.split(".").at(-1)} ${message}`,
      ) ?? [];
    const both = portErrors('{ port: "70000", protocol: TPC }');
    assert.match(both.join("\n"), /^port "70000" is neither .*\nprotocol "TPC".*did you mean "TCP"\?/);
    assert.match(portErrors("{ port: 80, protocol: TCP }").join("\n"), /^port must be a text \(write it in quotes: "80"\)[^\n]*$/);
    assert.match(portErrors('{ port: "80", protocol: tcp }').join("\n"), /^protocol "tcp" has to be written TCP/);
  });
  it("knows what Kubernetes refuses of its own policies", () => {
    const text = policy(
      "  podSelector: {}\n  policyTypes: [egress]\n  egress: [{ to: [{}], ports: [{ port: 90, endPort: 80, protocol: tcp }] }]\n",
      "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy",
    );
    const errors = validateDocuments("f.yaml", text)[0]?.errors.map(({ path }) => path.split(".").at(-1));
    assert.deepEqual(errors?.sort(), ["endPort", "policyTypes[0]", "protocol", "to[0]"]);
  });
  it("knows what Kubernetes says to names, and to an object without an apiVersion", () => {
    const text = (kind: string, name: string, namespace: string) =>
      `kind: ${kind}\nmetadata: { name: ${name}, namespace: ${namespace} }\nspec:\n${GOOD}`;
    const [result] = validateDocuments("f.yaml", text("CiliumClusterwideNetworkPolicy", '"A B/C"', "ns"));
    assert.deepEqual(
      result?.errors.map(({ path }) => path),
      ["apiVersion", "metadata.name"],
    );
    assert.match(result?.warnings.map(formatProblem).join() ?? "", /metadata\.namespace: is ignored: .* has no namespace/);
    assert.match(
      firstError(`apiVersion: cilium.io/v2\n${text("CiliumNetworkPolicy", "p", "A_b")}`),
      /"A_b" is not the name of a namespace/,
    );
  });
  it("says one thing of fromRequires, whatever is in it", () => {
    const requires = (list: string) =>
      validateDocuments("f", policy(`  endpointSelector: {}\n  ingress: [{ fromRequires: ${list} }]\n`))[0]?.errors;
    for (const list of ["[{ matchLabels: { a: b } }]", "[a]"]) {
      assert.equal(requires(list)?.length, 1, list);
      assert.match(requires(list)?.[0]?.message ?? "", /was removed from Cilium: put the labels into the selectors of fromEndpoints/);
    }
  });
  it("warns of application rules that a plain allow makes moot, in the same policy and in another file", () => {
    const rule = (rules: string) => `    - { fromEndpoints: [{}], toPorts: [{ ports: [{ port: "80", protocol: TCP }]${rules} }] }\n`;
    const http = ", rules: { http: [{ method: GET }] }";
    const of = (...rules: string[]) => policy(`  endpointSelector: {}\n  ingress:\n${rules.join("")}`);
    const warnings = (...texts: string[]) =>
      validateFiles(texts.map((text, i) => ({ file: `f${i}`, text }))).flatMap((one) => one.warnings.map(formatProblem));
    assert.deepEqual(warnings(of(rule(http))), []);
    assert.match(
      warnings(of(rule(http), rule(""))).join("\n"),
      /^f0:7:7: spec\.ingress\[0\]: its application rules are moot: ns\/p \(ingress\) rule 1 /,
    );
    const other = of(rule("")).replace("name: p", "name: q");
    assert.match(warnings(other, of(rule(http))).join("\n"), /^f1:7:7: .* are moot: ns\/q \(ingress\) rule 0 allows the same without any$/);
  });
  it("reads YAML as kubectl does, and speaks of all in the order of lines", () => {
    const spec = `  endpointSelector: {}\n  egress:\n    - toCIDR: [10.0.0/8]\n  ingress:\n    - toPorts: [{ ports: [{ port: 0120 }] }]\n  enableDefaultDeny: { ingress: on, egress: 1 }\n`;
    const errors = validateDocuments("f.yaml", policy(spec).replace("name: p", "name: y"))[0]?.errors.map(formatProblem) ?? [];
    assert.match(errors[0] ?? "", /^f\.yaml:3:19: metadata\.name: must be a text .* found boolean true$/);
    assert.match(errors[1] ?? "", /^f\.yaml:7:16: /);
    assert.match(errors[2] ?? "", /^f\.yaml:9:35: .*must be a text \(write it in quotes: "80"\), found number 80$/);
    assert.match(errors[3] ?? "", /^f\.yaml:10:\d+: spec\.enableDefaultDeny\.egress: must be true or false, found number 1$/);
    const twice = `${policy(GOOD)}  ingress: []\n`;
    assert.match(firstError(twice), /^f\.yaml:7:3: the key "ingress" is there twice/);
    const typed = `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicyList\nitems:\n- metadata: { name: p }\n  spec: { endpointSelector: {}, ingress: [{}], egress: 1 }\n`;
    assert.match(firstError(typed), /^f\.yaml:5:\d+: items\[0\]\.spec\.egress: must be a list/);
  });
  it("refuses what Cilium has and nobody here would serve: listeners, and groups of cloud providers", () => {
    const errors = (rule: string) =>
      validateDocuments("f", policy(`  endpointSelector: {}\n  egress: [${rule}]\n`))[0]?.errors.map(
        ({ path, message }) => `${path}: ${message}`,
      );
    const [group, ...more] = errors("{ toGroups: [{ aws: { region: r } }] }") ?? [];
    assert.match(
      group ?? "",
      /toGroups: would select nobody: groups of cloud providers are not looked up; name the addresses in a CiliumCIDRGroup/,
    );
    assert.deepEqual(more, []);
    const listener = "listener: { name: l, envoyConfig: { name: c } }";
    const [served, ...others] = errors(`{ toPorts: [{ ports: [{ port: "80", protocol: TCP }], ${listener} }] }`) ?? [];
    assert.match(served ?? "", /toPorts\[0\]\.listener: nobody serves listener "l": no Envoy runs here/);
    assert.deepEqual(others, []);
  });
  it("does not suggest the word that it found", () =>
    assert.match(firstError(policy(GOOD, "apiVersion: cilium.io/v1\nkind: CiliumNetworkPolicy")), /cilium\.io\/v2 is needed$/));
  it("looks at every document and into Lists", () => {
    const list = `apiVersion: v1\nkind: List\nitems:\n- ${policy(BAD).replaceAll("\n", "\n  ").trimEnd()}\n`;
    const results = validateDocuments("f.yaml", `${policy(GOOD)}---\n${list}`);
    assert.deepEqual(
      results.map(({ errors }) => errors.length),
      [0, 1],
    );
    assert.match(firstError(`${policy(GOOD)}---\n${list}`, 1), /^f\.yaml:1\d:\d+: items\[0\]\.spec\.egress/);
  });
  it("refuses a misspelt kind and another version of ours, and passes over what is no policy", () => {
    const misspelt = firstError(policy(GOOD, "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolcy"));
    assert.match(misspelt, /kind: found "CiliumNetworkPolcy".*did you mean "CiliumNetworkPolicy"/);
    assert.match(firstError(policy(GOOD, "apiVersion: cilium.io/v9\nkind: CiliumNetworkPolicy")), /cilium\.io\/v2 is needed/);
    assert.deepEqual(validateDocuments("f", "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: { name: s }\n"), []);
    assert.deepEqual(validateDocuments("f", "apiVersion: v1\nkind: Service\nmetadata: { name: s }\n"), []);
  });
});

describe("bad input", () => {
  const whole = policy(
    `${GOOD}  egress:\n    - toFQDNs: [{ matchPattern: "*.example.com" }]\n      toPorts: [{ ports: [{ port: "443", protocol: TCP }] }]\n`,
  );
  // Characters that mean something to YAML, so that many mutants get past the first line.
  const noise = fc.constantFrom(
    "&a",
    "*a",
    "<<: *a",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "'",
    '"',
    "|",
    ">",
    "!",
    "%",
    "\t",
    "\n",
    "---",
    "null",
    "1e999",
    "0x",
    "\u0000",
    "é",
  );
  const mutant = fc
    .array(fc.tuple(fc.nat(whole.length), fc.nat(12), noise), { minLength: 1, maxLength: 4 })
    .map((edits) => edits.reduce((text, [at, length, put]) => text.slice(0, at) + put + text.slice(at + length), whole));

  it("never throws out of validation, and out of the reader only as an error of its own", (test) => {
    let [runs, refused] = [0, 0];
    fc.assert(
      fc.property(fc.oneof(mutant, fc.string(), fc.json()), (text) => {
        runs++;
        validateDocuments("f", text);
        try {
          objectsIn("f", text);
        } catch (thrown) {
          refused++;
          assert.ok(thrown instanceof DocumentError, String(thrown));
        }
      }),
      { numRuns: 1500 },
    );
    test.diagnostic(`${runs} texts, ${refused} refused by the reader, none crashed`);
  });

  it("names the line of an alias that stands inside of what it stands for", () => {
    const circle = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nspec: &a\n  endpointSelector: {}\n  egress: *a\n";
    assert.match(firstError(circle), /^f\.yaml:5:11: the alias \*a stands inside/);
    assert.throws(() => objectsIn("f.yaml", circle), /^DocumentError: f\.yaml:5:11: the alias|f\.yaml:5:11: the alias/);
    assert.match(firstError("a: &a { b: &b { c: [*a] } }\nd: *b\n"), /^f\.yaml:1:21: /);
    const again = policy(
      "  endpointSelector: &a {}\n  ingress: [{ fromEndpoints: [*a] }]\n  egress: [{ toEndpoints: &b [*a] }, { toEndpoints: *b }]\n",
    );
    assert.doesNotMatch(firstError(again), /without end/);
  });

  it("survives a bomb of aliases", () => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${[..."bcdefgh"].map((name, i) => `${name}: &${name} [${Array(9).fill(`*${"abcdefg"[i]}`).join(",")}]`).join("\n")}\n`;
    assert.match(firstError(bomb), /alias/i);
  });
});
