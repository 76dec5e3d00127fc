import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { settingsWith } from "../settings.ts";
import { parsePolicy } from "./parse.ts";

const policy = (spec: unknown) => ({ kind: "CiliumNetworkPolicy", metadata: { name: "p", namespace: "shop" }, spec });
const issuesOf = (spec: unknown) => parsePolicy(policy(spec)).issues.map(({ path, message }) => `${path}: ${message}`);

describe("parsePolicy", () => {
  it("finds every problem at once, with what is allowed and the nearest spelling", () => {
    const issues = issuesOf({
      endpointSelector: { matchExpressions: [{ key: "app", operator: "Exist" }] },
      ingress: [{ fromEntities: ["wrold"], toPorts: [{ ports: [{ port: 80, protocol: "TPC" }] }] }],
      egress: [{ toCIDR: ["10.0.0.1"], toPorts: [{ ports: [{ port: "53" }], rules: { http: [], dns: [{ matchPattern: "a?" }] } }] }],
    });
    assert.equal(issues.length, 7);
    assert.match(issues[0] ?? "", /matchExpressions\[0\]\.operator: "Exist" is not one of .*did you mean "Exists"\?/);
    assert.match(issues[1] ?? "", /fromEntities\[0\]: "wrold" is not an entity; allowed are all, world.*did you mean "world"\?/);
    assert.match(issues[2] ?? "", /ports\[0\]\.port: must be a text \(write it in quotes: "80"\), found number 80/);
    assert.match(issues[3] ?? "", /protocol: "TPC" is not a protocol.*did you mean "TCP"\?/);
    assert.match(issues[4] ?? "", /toCIDR\[0\]: "10\.0\.0\.1" is not an address block.*write 10\.0\.0\.1\/32/);
    assert.match(issues[5] ?? "", /rules: has both http and dns rules/);
  });

  it("warns of a misspelt field, which would otherwise silently widen the policy", () => {
    const { issues, warnings } = parsePolicy(policy({ endpointSelector: {}, ingress: [{ fromEndpoint: [{}], toPorts: [] }] }));
    assert.deepEqual(issues, []);
    assert.match(warnings[0]?.message ?? "", /unknown field "fromEndpoint" is ignored; did you mean "fromEndpoints"\?/);
  });

  it("warns of HTTP rules that match nothing and that Cilium takes", () => {
    const http = [
      { path: "/(?P<n>a)(?P<n>b)" },
      { headerMatches: [{ name: "Host", value: "a", mismatch: "REPLACE" }] },
      { headerMatches: [{ name: "Host", value: "a" }] },
    ];
    const toPorts = [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http } }];
    const { issues, warnings } = parsePolicy(policy({ endpointSelector: {}, ingress: [{ toPorts }] }));
    assert.deepEqual(issues, []);
    assert.deepEqual(
      warnings.map(({ path }) => path.replace(/.*rules\./, "")),
      ["http[0].path", "http[1].headerMatches[0].name"],
    );
  });

  it("takes an application rule without protocol as TCP, and refuses it where extensions are off", () => {
    const spec = { endpointSelector: {}, ingress: [{ toPorts: [{ ports: [{ port: "80" }], rules: { http: [{}] } }] }] };
    const parsed = parsePolicy(policy(spec));
    assert.equal(parsed.warnings[0]?.stage, "portability");
    assert.deepEqual(
      parsed.rules[0]?.ports?.[0]?.ports.map((one) => one.protocol),
      [6],
    );
    assert.equal(parsePolicy(policy(spec), settingsWith({ extensions: false })).issues.length, 1);
  });

  it("numbers rules as the author's YAML does", () => {
    const spec = { endpointSelector: {}, ingress: [{}, { fromEntities: ["all"] }], egressDeny: [{ toEntities: ["world"] }] };
    const origins = parsePolicy(policy(spec)).rules.map(({ origin }) => `${origin.section}/${origin.index}`);
    assert.deepEqual(origins, ["ingress/0", "ingress/1", "egressDeny/0"]);
  });

  it("refuses the whole object for one bad spec", () => {
    const object = {
      kind: "CiliumNetworkPolicy",
      metadata: { name: "p", namespace: "shop" },
      specs: [{ endpointSelector: {}, ingress: [{}] }, { ingress: [{}] }],
    };
    const { rules, issues } = parsePolicy(object);
    assert.deepEqual(rules, []);
    assert.deepEqual(
      issues.map((one) => one.path),
      ["specs[1]"],
    );
  });

  it("names the word of ClusterNetworkPolicy for what every other kind calls allow, and the bounds of ports", () => {
    const action = (word: string) =>
      parsePolicy({
        kind: "ClusterNetworkPolicy",
        metadata: { name: "p" },
        spec: { tier: "Admin", priority: 1, subject: { namespaces: {} }, ingress: [{ action: word, from: [{ namespaces: {} }] }] },
      }).issues.map(({ message }) => message);
    assert.deepEqual(action("Allow"), ['"Allow" is not Accept, Deny or Pass; did you mean "Accept"?']);
    const endPort = (value: unknown) =>
      parsePolicy({
        kind: "CiliumNetworkPolicy",
        metadata: { name: "p", namespace: "n" },
        spec: { endpointSelector: {}, ingress: [{ toPorts: [{ ports: [{ port: "80", endPort: value, protocol: "TCP" }] }] }] },
      });
    assert.match(endPort("90").issues[0]?.message ?? "", /^must be a whole number from 0 to 65535, found the text "90"$/);
    assert.match(endPort(70_000).warnings[0]?.message ?? "", /^70000 is not a port: a port is 0 to 65535/);
  });
});
