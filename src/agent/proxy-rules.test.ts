import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createFakeCluster } from "#k8s/fake.ts";
import { SECRETS } from "#k8s/resources.ts";
import type { L7Rule } from "#policy/resolve/l7-policy.ts";
import { silentLogger } from "#runtime/logger.ts";
import { createDatabase } from "#statedb/database.ts";
import { proxyRules, type SecretLookup, secretsOf } from "./proxy-rules.ts";
import { createSecrets } from "./secrets.ts";

const origin = { kind: "CiliumNetworkPolicy", namespace: "demo", name: "p", section: "ingress", index: 0, spec: 0 } as const;
const rule = (more: Partial<L7Rule>): L7Rule => ({
  ...{ identities: null, http: null, dns: null, kafka: null, serverNames: null, origins: [origin] },
  ...more,
});
const port = (...rules: readonly L7Rule[]) => [{ port: 80, endPort: 0, protocol: 6, rules }];
const header = rule({
  parser: "http",
  http: [{ headerMatches: [{ name: "X-Token", secret: { namespace: "", name: "token" }, mismatch: "REPLACE" }] }],
});
const none: SecretLookup = () => undefined;

describe("rules for the proxy", () => {
  it("take a header's value from the Secret of the policy's namespace, when it has exactly one", () => {
    const value = (values: Readonly<Record<string, string>> | undefined, of = header) => {
      const [only] = proxyRules(port(of), ({ namespace, name }) => (`${namespace}/${name}` === "demo/token" ? values : undefined));
      return only?.rules[0]?.http?.[0]?.headerMatches?.[0];
    };
    const secret = { namespace: "demo", name: "token" };
    assert.deepEqual(value({ any: "s3cret" }), { name: "X-Token", mismatch: "REPLACE", secret, value: "s3cret" });
    for (const values of [undefined, {}, { a: "1", b: "2" }])
      assert.deepEqual(value(values), { name: "X-Token", mismatch: "REPLACE", secret });
    assert.deepEqual(value({ any: "" }), { name: "X-Token", mismatch: "REPLACE", secret, value: "" }, "there, and empty: any value");
    const beside = rule({ parser: "http", http: [{ headerMatches: [{ name: "X-Token", secret, value: "own" }] }] });
    for (const [values, expected] of [
      [{ any: "s3cret" }, "s3cret"],
      [{ any: "" }, "own"],
      [undefined, "own"],
      [{ a: "1", b: "2" }, "own"],
    ] as const)
      assert.deepEqual(value(values, beside), { name: "X-Token", secret, value: expected });
  });

  it("take certificates by Cilium's names, or by the policy's", () => {
    const secret = { namespace: "demo", name: "tls" };
    const tls = (terminatingTls: L7Rule["terminatingTls"], originatingTls: L7Rule["originatingTls"], values: Record<string, string>) => {
      const [only] = proxyRules(port(rule({ parser: "tls", terminatingTls, originatingTls })), () => values);
      return [only?.rules[0]?.terminatingTls, only?.rules[0]?.originatingTls];
    };
    assert.deepEqual(tls({ secret }, { secret }, { "tls.crt": "C", "tls.key": "K", "ca.crt": "A" }), [
      { certificate: "C", privateKey: "K" },
      { trustedCa: "A" },
    ]);
    assert.deepEqual(tls({ secret, certificate: "c", privateKey: "k" }, { secret, trustedCa: "a" }, { c: "C", k: "K", a: "A" }), [
      { certificate: "C", privateKey: "K" },
      { trustedCa: "A" },
    ]);
    assert.deepEqual(tls({ secret }, { secret }, { "tls.crt": "C" }), [null, null]);
  });

  it("name all the Secrets, and leave out what the proxy has no parser for", () => {
    const tls = rule({ parser: "tls", terminatingTls: { secret: { namespace: "a", name: "b" } } });
    assert.deepEqual(secretsOf(port(header, tls)), [
      { namespace: "demo", name: "token" },
      { namespace: "a", name: "b" },
    ]);
    assert.deepEqual(proxyRules(port(rule({ parser: "dns", dns: [] })), none), []);
  });
});

describe("secrets", () => {
  it("are watched while a policy names them, and shown without their values", async () => {
    const cluster = createFakeCluster();
    await using secrets = createSecrets({ cluster, db: createDatabase(), log: silentLogger });
    const put = (name: string, text: string) =>
      cluster.create(SECRETS, {
        ...{ apiVersion: "v1", kind: "Secret", metadata: { name, namespace: "demo" } },
        data: { value: Buffer.from(text).toString("base64") },
      });
    await put("token", "s3cret");
    await put("other", "never");
    const until = async (key: string, wanted: string | undefined) => {
      while (secrets.table.get(key)?.values.value !== wanted) await new Promise((resolve) => setImmediate(resolve));
    };
    secrets.follow([
      { namespace: "demo", name: "token" },
      { namespace: "demo", name: "later" },
    ]);
    await until("demo/token", "s3cret");
    await put("later", "soon");
    await until("demo/later", "soon");
    assert.equal(secrets.table.get("demo/other"), undefined);
    assert.match(secrets.table.show(), /demo\/token/);
    assert.doesNotMatch(secrets.table.show(), /s3cret/);
    secrets.follow([]);
    await until("demo/token", undefined);
  });
});
