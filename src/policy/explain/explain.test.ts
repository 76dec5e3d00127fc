import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { labelSet } from "#labels/label-set.ts";
import { NumericIdentity } from "#types/identity.ts";
import type { HttpRequest } from "../l7/http.ts";
import { parsePolicy } from "../parse/parse.ts";
import { createRepository } from "../resolve/repository.ts";
import { resolveEndpoint } from "../resolve/resolve.ts";
import { createSelectorCache } from "../selectors/selector-cache.ts";
import { explain, formatNearMiss } from "./explain.ts";

const labels = (app: string) =>
  labelSet(["k8s:io.kubernetes.pod.namespace=shop", "k8s:io.cilium.k8s.policy.cluster=default", `k8s:app=${app}`]);
const frontend = { id: NumericIdentity(1001), labels: labels("frontend") };
const attacker = { id: NumericIdentity(1002), labels: labels("attacker") };
const backend = { id: NumericIdentity(1003), labels: labels("backend") };

function ask(ingress: unknown, peer: number, port: number, http?: HttpRequest): readonly string[] {
  const spec = { endpointSelector: { matchLabels: { app: "backend" } }, ...(ingress as object) };
  const repo = createRepository().with(
    parsePolicy({ kind: "CiliumNetworkPolicy", metadata: { name: "allow-frontend", namespace: "shop" }, spec }),
  );
  const cache = createSelectorCache();
  cache.update({ add: [frontend, attacker, backend] });
  const policy = resolveEndpoint(repo, cache, { identity: backend.id, labels: backend.labels, namedPorts: [] });
  const told = explain(repo, cache, policy, { direction: "ingress", identity: NumericIdentity(peer), protocol: 6, port, http });
  return [...told.lines, ...told.nearest.map(formatNearMiss)];
}

const onPort80 = {
  ingress: [{ fromEndpoints: [{ matchLabels: { app: "frontend" } }], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] }],
};

describe("explain", () => {
  it("names the rule that allows", () => {
    assert.match(ask(onPort80, 1001, 80).join("\n"), /allowed by shop\/allow-frontend \(ingress\) rule 0/);
  });

  it("names the policy behind a default deny, and the label that differs", () => {
    const lines = ask(onPort80, 1002, 80).join("\n");
    assert.match(lines, /no policy allows it; default deny by CiliumNetworkPolicy shop\/allow-frontend/);
    assert.match(lines, /nearest is shop\/allow-frontend \(ingress\) rule 0: needs app=frontend, has app=attacker/);
  });

  it("names the port that differs", () => {
    assert.match(ask(onPort80, 1001, 81).join("\n"), /rule 0: needs 80\/TCP, is 81\/TCP/);
  });

  it("names the rule that denies", () => {
    assert.match(
      ask({ ingressDeny: [{ fromEndpoints: [{}] }] }, 1001, 80).join("\n"),
      /denied by shop\/allow-frontend \(ingressDeny\) rule 0/,
    );
  });

  it("says why the node gets through", () => {
    assert.match(ask(onPort80, 1, 10250).join("\n"), /the node may always reach its own pods/);
  });

  it("judges a request as the proxy does", () => {
    const http = { rules: { http: [{ method: "GET", path: "/public.*" }] } };
    const rule = { ingress: [{ fromEndpoints: [{}], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], ...http }] }] };
    const request = { method: "GET", path: "/private", host: "backend", headers: [] };
    assert.match(ask(rule, 1001, 80, request).join("\n"), /refused by the proxy with 403.*\n.*path needs \/public\.\*, is \/private/);
    assert.match(ask(rule, 1001, 80, { ...request, path: "/public/x" }).join("\n"), /GET \/public\/x: allowed by shop\/allow-frontend/);
    const climbing = ask(rule, 1001, 80, { ...request, path: "/public/../private" }).join("\n");
    assert.match(climbing, /refused by the proxy with 403.*\n.*path needs \/public\.\*, is \/private, as some servers read it/);
    assert.match(ask(rule, 1001, 80, { ...request, path: "/public/%c0%af" }).join("\n"), /403.*\n.*escaped as in an attack/);
  });
});
