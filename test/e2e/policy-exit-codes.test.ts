import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { root, run } from "./lab.ts";

const directory = mkdtempSync(join(tmpdir(), "exit-codes-"));
after(() => rmSync(directory, { recursive: true }));
const file = (name: string, text: string) => {
  writeFileSync(join(directory, name), text);
  return name;
};

const policy = (name: string, rule: string) =>
  `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: { name: ${name}, namespace: shop }\nspec:\n  endpointSelector: { matchLabels: { app: api } }\n  ingress: [${rule}]\n`;
const workload = (name: string) =>
  `apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: ${name}, namespace: shop }\nspec: { template: { metadata: { labels: { app: ${name} } }, spec: {} } }\n`;
const CLUSTER = "k8s:io.cilium.k8s.policy.cluster=default";
const end = (app: string, more: string[]) => ({
  namespace: "shop",
  identity: app === "web" ? 300 : 301,
  labels: [`k8s:app=${app}`, "k8s:io.kubernetes.pod.namespace=shop", ...more],
});
file("good.yaml", policy("api", "{ fromEndpoints: [{ matchLabels: { app: web } }] }"));
file("closed.yaml", policy("api", "{}"));
file("bad.yaml", policy("api", "{ fromCIDR: [x] }"));
file(
  "moot.yaml",
  `${policy("api", "{ fromEndpoints: [{ matchLabels: { app: web } }] }")}---\n${policy("l7", "{ fromEndpoints: [{ matchLabels: { app: web } }], toPorts: [{ ports: [{ port: '80', protocol: TCP }], rules: { http: [{ method: GET }] } }] }")}`,
);
file("pods.yaml", `${workload("web")}---\n${workload("api")}`);
file("torn.yaml", "a: [");
const flow = (...more: string[]) => ({
  ...{ verdict: "FORWARDED", is_reply: false, Type: "L3_L4", l4: { TCP: { destination_port: 80 } } },
  ...{ source: end("web", more), destination: end("api", more) },
});
file("flows.json", `${JSON.stringify({ flow: flow(CLUSTER) })}\n`);
// No agent writes such: nothing that could be learned allows pods without a cluster.
file("stray.json", `${JSON.stringify({ flow: flow() })}\n`);
file("no-flow.json", "{}\n");
file("empty.json", "");
const world = "--policies good.yaml --pods pods.yaml";

/** 0 fine, 1 something was found, 2 no answer; with 2 standard error says why, and nothing is on standard output. */
const TABLE: readonly (readonly [line: string, code: 0 | 1 | 2, says?: RegExp])[] = [
  ["validate good.yaml", 0],
  ["validate bad.yaml", 1],
  ["validate pods.yaml", 1],
  ["validate missing.yaml", 2, /missing\.yaml: there is no such file/],
  ["validate", 2, /missing required argument/],
  ["validate good.yaml -o svg", 2, /-o svg: allowed are/],
  ["explain --from shop/web --to shop/api --port 80 --policies good.yaml --pods pods.yaml", 0],
  ["explain --from shop/web --to shop/api --port 80 --policies closed.yaml --pods pods.yaml", 1],
  [`explain --from shop/web --to shop/nobody --port 80 ${world}`, 2, /--to: /],
  [`explain --from 300.1.1.1 --to shop/api --port 80 ${world}`, 2, /--from: "300\.1\.1\.1" is no address/],
  [`explain --from shop/web --to shop/api --port 80/tpc ${world}`, 2, /--port/],
  [`explain --from shop/web ${world}`, 2, /required option/],
  ["lint good.yaml", 0],
  ["lint bad.yaml", 1],
  ["lint moot.yaml", 0],
  ["lint moot.yaml --fail-on warning", 1],
  ["lint moot.yaml --fail-on warn", 2, /--fail-on: found "warn"/],
  ["lint pods.yaml", 2, /there is no network policy in pods\.yaml/],
  ["lint torn.yaml", 2, /torn\.yaml:/],
  ["lint good.yaml --flows no-flow.json", 2, /no-flow\.json:1: no flow/],
  ["diff good.yaml good.yaml --pods pods.yaml", 0],
  ["diff good.yaml closed.yaml --pods pods.yaml", 1],
  ["diff good.yaml closed.yaml", 2, /no pods or workloads/],
  [`matrix ${world}`, 0],
  [`matrix -o svg ${world}`, 0],
  [`matrix -o png ${world}`, 2, /-o png: allowed are table, csv, html, svg, json, yaml/],
  ["matrix --policies good.yaml", 2, /no pods or workloads/],
  ["what-if good.yaml --flows flows.json --policies good.yaml", 0],
  ["what-if closed.yaml --flows flows.json --policies good.yaml", 1],
  ["what-if closed.yaml --flows no-flow.json --policies good.yaml", 2, /no-flow\.json:1: no flow/],
  ["what-if closed.yaml --flows empty.json --policies good.yaml", 2, /there are no flows to replay/],
  ["what-if bad.yaml --flows flows.json --policies good.yaml", 2, /is refused/],
  ["what-if --flows flows.json", 2, /name files with policies/],
  ["learn --flows flows.json", 0],
  ["learn --flows stray.json", 1],
  ["learn --flows no-flow.json", 2, /no-flow\.json:1: no flow/],
  ["learn --flows missing.json", 2, /there is no such file/],
  ["export good.yaml", 0],
  ["export missing.yaml", 2, /there is no such file/],
  ["usage --unused-for soon", 2, /--unused-for: found "soon"/],
  ["usage", 2, /kubeconfig/],
  ["promote", 2, /missing required argument/],
  ["promote shop/api", 2, /kubeconfig/],
  ["get", 2, /kubeconfig/],
  ["selectors", 2, /kubeconfig/],
  ["lnit good.yaml", 2, /Did you mean lint/],
];

describe("exit status of the policy commands", { concurrency: 2 }, () => {
  const env = { ...process.env, KUBECONFIG: join(directory, "no-kubeconfig") };
  for (const [line, code, says = /^/] of TABLE)
    it(`${code}: policy ${line}`, async () => {
      const outcome = await run(`${root}bin/cilium`, ["policy", ...line.split(" ")], { cwd: directory, env });
      assert.equal(outcome.code, code, `${outcome.stdout}${outcome.stderr}`);
      assert.match(outcome.stderr, says);
      if (code === 2) assert.equal(outcome.stdout, "");
    });
  it("is in the help of every one of them", async () => {
    const { stdout } = await run(`${root}bin/cilium`, ["policy", "--help"]);
    const names = [...stdout.matchAll(/^ {2}([a-z-]+) (?=\[|<| )/gm)].map(([, name = ""]) => name).filter((name) => name !== "help");
    assert.ok(names.length >= 12, stdout);
    for (const name of names)
      assert.match((await run(`${root}bin/cilium`, ["policy", name, "--help"])).stdout, /Exit status: 0 fine, .*2 no answer/, name);
  });
});
