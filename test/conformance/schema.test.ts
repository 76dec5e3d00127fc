import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEFINITIONS } from "#apiserver/crds/definitions.ts";
import { conform } from "#apiserver/schema/conform.ts";
import { type Expression, isKnown } from "#apiserver/schema/expressions.ts";
import { resolveNothing, type Schema } from "#apiserver/schema/schema.ts";
import { parsePolicy } from "#policy/parse/parse.ts";
import { settingsWith } from "#policy/settings.ts";
import { readLines, sharedFile } from "./data.ts";
import { dataFiles } from "./files.ts";

interface Policy {
  readonly kind: string;
  readonly spec?: unknown;
  readonly specs?: unknown;
}

interface Line {
  readonly id: string;
  readonly policy?: Policy;
  readonly policies?: readonly Policy[];
  readonly expected: { readonly accepted?: boolean; readonly policies?: readonly { readonly accepted: boolean }[] };
}

/** What the engine takes and a cluster never hands to it, as Cilium's own definitions refuse it at `kubectl apply` too. */
const REFUSED_BEFORE: Readonly<Record<string, readonly string[]>> = {
  "a field that the definition does not have": [
    ...["rule-shape-038", "l7-http-600", "l7-http-601", "l7-http-619", "auth-log-labels-834"],
    ...["combining-peers-504", "combining-peers-509", "combining-peers-510", "to-fqdns-703"],
  ],
  "null, where there is nothing to be null": [
    ...["rule-shape-013", "rule-shape-040", "rule-shape-042", "rule-shape-043", "rule-shape-044", "enable-default-deny-049"],
  ],
  "a list that must not be empty": ["tls-sni-listener-709", "tls-sni-listener-735"],
  "a line break in what logs say": ["auth-log-labels-839"],
  "a word of an enumeration, spelled in another way": [
    ...["ports-218", "ports-231", "ports-255", "ports-257", "ports-259", "l7-http-606", "l7-other-639"],
    ...["tls-sni-listener-752", "icmp-793", "auth-log-labels-832"],
  ],
  "a list that must be empty": ["basic-070"],
  "a number out of range": ["ports-208", "ports-209", "icmp-776"],
  "an empty port, or a number with a leading zero": ["ports-248", "ports-272", "ports-298", "ports-312", "icmp-767"],
  "a name that cannot be one": [
    ...["cidr-413", "cidr-414", "l7-dns-652", "l7-dns-655", "l7-dns-656", "to-fqdns-694", "to-fqdns-696"],
    ...["tls-sni-listener-710", "tls-sni-listener-711", "tls-sni-listener-736", "tls-sni-listener-747"],
  ],
  "neither a name nor a pattern, or both": ["l7-dns-653", "l7-dns-654"],
  "a field left out, or of another type": ["tls-sni-listener-748", "services-822", "auth-log-labels-833", "auth-log-labels-843"],
};

/** What the engine takes as Cilium's does, and our definitions refuse: nobody here would serve it. */
const NOT_SERVED = /\.listener: .*at most 0 properties|Groups: .*at most 0 items/;

/** The first thing that the definition of the policy's kind has against it; undefined for kinds that are not ours. */
function refusal({ kind, spec, specs }: Policy): string | undefined {
  const definition = DEFINITIONS.find((one) => one.kind === kind);
  if (!definition) return undefined;
  const object = { metadata: {}, ...(spec === undefined ? {} : { spec }), ...(specs === undefined ? {} : { specs }) };
  const { unknown, mistyped, causes } = conform(definition.schema, object, { resolve: resolveNothing, dropNulls: false });
  return [
    ...unknown.filter((field) => field !== "metadata").map((field) => `unknown field ${field}`),
    ...[...mistyped, ...causes].map(({ field, message }) => `${field}: ${message}`),
  ][0];
}

/** The lines of a file of the shared data; undefined when it is not there. */
function casesOf(file: string): Line[] | undefined {
  const path = sharedFile(file);
  return path === undefined ? undefined : readLines(path).map(({ value }) => value as Line);
}

/** All expressions in a schema. */
function expressionsIn(schema: Schema): Expression[] {
  const { properties = {}, items, additionalProperties, "x-kubernetes-validations": own = [] } = schema;
  const inner = [...Object.values(properties), items ?? {}, typeof additionalProperties === "object" ? additionalProperties : {}];
  return [...own, ...inner.flatMap((one) => (Object.keys(one).length === 0 ? [] : expressionsIn(one)))];
}

describe("the definitions of Cilium's policies", () => {
  const known = new Set(Object.values(REFUSED_BEFORE).flat());
  it("take what Cilium takes", (test) => {
    const files = dataFiles.map(casesOf);
    if (files.includes(undefined)) return test.skip("the data is not there; set CILIA_CONFORMANCE to its folder");
    let unserved = 0;
    for (const { id, policy, policies = policy ? [policy] : [], expected } of files.flatMap((lines = []) => lines)) {
      const taken = policies.filter(
        ({ kind }, index) => kind.startsWith("Cilium") && (expected.policies?.[index]?.accepted ?? expected.accepted),
      );
      const messages = taken.map(refusal);
      unserved += messages.filter((one) => NOT_SERVED.test(one ?? "")).length;
      const message = messages.find((one) => one !== undefined && !NOT_SERVED.test(one));
      if (!known.has(id)) assert.equal(message, undefined, id);
      else assert.ok(message, `${id} is refused`);
    }
    assert.ok(unserved >= 20, `${unserved} name a listener or a group of a cloud provider`);
  });

  it("have no expression that the lab's API server would not evaluate", () => {
    const all = DEFINITIONS.flatMap(({ schema }) => expressionsIn(schema));
    assert.deepEqual(
      all.filter((one) => !isKnown(one)),
      [],
    );
    assert.ok(all.length >= 3);
  });

  it("refuse what their expressions refuse", () => {
    const to = (...peers: object[]) => ({ kind: "ClusterNetworkPolicy", spec: { ...admin, egress: [{ action: "Deny", to: peers }] } });
    const admin = { tier: "Admin", priority: 1, subject: { namespaces: {} } };
    const range = (start: number, end: number) => [{ tcp: { destinationPort: { range: { start, end } } } }];
    const from = (protocols: object[]) => ({
      kind: "ClusterNetworkPolicy",
      spec: { ...admin, ingress: [{ action: "Deny", from: [{ namespaces: {} }], protocols }] },
    });
    for (const good of [to({ networks: ["10.0.0.0/8", "fd00::/8"] }), from(range(1, 2))]) assert.equal(refusal(good), undefined);
    assert.match(refusal(to({ networks: ["10.0.0.1"] })) ?? "", /networks\[0\]: .*Invalid CIDR/);
    assert.match(refusal(to({ domainNames: ["a.b"] })) ?? "", /egress\[0\]: .*only be used with action Accept/);
    assert.match(refusal(from(range(2, 2))) ?? "", /range: .*less than End/);
  });

  it("refuse what Cilium's refuse: no application rules, no server names, null for a selector, control characters for the log", () => {
    const cnp = (spec: object) => ({ kind: "CiliumNetworkPolicy", spec: { endpointSelector: {}, egress: [], ...spec } });
    const to = (entry: object) => cnp({ egress: [{ toPorts: [{ ports: [{ port: "443", protocol: "TCP" }], ...entry }] }] });
    for (const rules of [{ http: [{}] }, { kafka: [{}] }, { l7proto: "x", l7: [] }]) assert.equal(refusal(to({ rules })), undefined);
    assert.match(refusal(to({ rules: {} })) ?? "", /rules: .*give http or dns or kafka/);
    assert.match(refusal(to({ rules: { http: [], dns: [] } })) ?? "", /rules: .*one and only one/);
    assert.match(refusal(to({ serverNames: [] })) ?? "", /serverNames: .*at least 1 items/);
    assert.match(refusal(cnp({ endpointSelector: null })) ?? "", /endpointSelector: .*must be of type object/);
    assert.match(refusal(cnp({ egress: [{ toEndpoints: [null] }] })) ?? "", /toEndpoints\[0\]: .*must be of type object/);
    assert.match(refusal(cnp({ egress: [{ toRequires: [{}] }] })) ?? "", /toRequires/);
    assert.equal(refusal(cnp({ log: { value: "Wörter – 日本" } })), undefined);
    for (const value of ["a\nb", "a\u001bb", "a\u200bb"])
      assert.match(refusal(cnp({ log: { value } })) ?? "", /log.value: .*no control characters/);
  });

  it("of ClusterNetworkPolicy refuse just what the engine says that no API server stores", (test) => {
    const files = dataFiles.map(casesOf);
    if (files.includes(undefined)) return test.skip("the data is not there; set CILIA_CONFORMANCE to its folder");
    const settings = settingsWith({ nodeSelectorLabels: true });
    let [refused, taken] = [0, 0];
    for (const { id, policy, policies = policy ? [policy] : [] } of files.flatMap((lines = []) => lines)) {
      for (const one of policies.filter(({ kind }) => kind === "ClusterNetworkPolicy")) {
        const { issues, warnings } = parsePolicy(one, settings);
        const told = issues.length > 0 || warnings.some(({ stage }) => stage === "schema");
        assert.equal(refusal(one) !== undefined, told, `${id}: ${refusal(one)}`);
        if (told) refused += 1;
        else taken += 1;
      }
    }
    assert.ok(refused > 40 && taken > 120, `${refused} refused, ${taken} taken`);
  });

  it("refuse at kubectl apply, naming the field, what cannot be right", (test) => {
    const lines = casesOf("validation.jsonl");
    if (lines === undefined) return test.skip("the data is not there; set CILIA_CONFORMANCE to its folder");
    const refused = lines.filter(({ policy }) => policy?.kind.startsWith("Cilium") && refusal(policy) !== undefined);
    const wrong = refused.filter(({ expected }) => !expected.accepted);
    assert.ok(wrong.length >= 120, `${wrong.length} of the policies that the engine refuses never reach it`);
  });
});
