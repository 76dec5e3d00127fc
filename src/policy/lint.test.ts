import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { labelSet } from "#labels/label-set.ts";
import { NumericIdentity } from "#types/identity.ts";
import { formatFinding, lintPolicies } from "./lint.ts";
import { parsePolicy } from "./parse.ts";
import { createRepository } from "./repository.ts";
import { createSelectorCache } from "./selector-cache.ts";

const pod = (id: number, namespace: string, ...own: string[]) => ({
  id: NumericIdentity(id),
  labels: labelSet([`k8s:io.kubernetes.pod.namespace=${namespace}`, "k8s:io.cilium.k8s.policy.cluster=default", ...own]),
});

function lint(...specs: readonly unknown[]): string {
  const parsed = specs.map((spec, i) => parsePolicy({ kind: "CiliumNetworkPolicy", metadata: { name: `p${i}`, namespace: "shop" }, spec }));
  const cache = createSelectorCache();
  const pods = [
    pod(1001, "shop", "k8s:app=web"),
    pod(1002, "shop", "k8s:app=api"),
    pod(1003, "monitoring", "k8s:app=prometheus"),
    pod(1004, "kube-system", "k8s:k8s-app=kube-dns"),
  ];
  cache.update({ add: pods });
  return lintPolicies(createRepository().with(...parsed), cache)
    .map(formatFinding)
    .join("\n");
}

const select = (app: string, rest: object) => ({ endpointSelector: { matchLabels: { app } }, ...rest });
const from = (app: string) => [{ matchLabels: { app } }];
const port80 = [{ ports: [{ port: "80", protocol: "TCP" }] }];

describe("lintPolicies", () => {
  it("finds nothing in a sound policy", () => {
    assert.equal(lint(select("api", { ingress: [{ fromEndpoints: from("web"), toPorts: port80 }] })), "");
  });

  it("finds each thing that is probably not meant", () => {
    const http = [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ path: "/api/", host: "shop.example.com" }] } }];
    const cases: [string, RegExp][] = [
      [
        lint(select("api", { ingress: [{ fromEndpoints: from("prometheus") }] })),
        /warning L06 .* pods in monitoring have these labels; add "k8s:io\.kubernetes\.pod\.namespace: monitoring"/,
      ],
      [lint(select("nobody", { ingress: [{}] })), /L05 shop\/p0: selects no pod/],
      [lint(select("api", { ingress: [{ fromEndpoints: from("ghost") }] })), /L05 .*nobody who exists now/],
      [
        lint(select("api", { ingress: [{ fromEndpoints: from("web"), toPorts: http }, { fromEndpoints: [{}] }] })),
        /L08 .*application rules are moot: shop\/p0 \(ingress\) rule 1/,
      ],
      [
        lint(select("api", { ingress: [{ fromEndpoints: from("web") }], ingressDeny: [{ fromEndpoints: [{}] }] })),
        /L09 .*never has an effect/,
      ],
      [
        lint(select("api", { ingress: [{ fromEndpoints: from("web"), toPorts: port80 }, { fromEndpoints: from("web") }] })),
        /L10 .*rule 0: adds nothing to/,
      ],
      [lint(select("api", { egress: [{ toFQDNs: [{ matchPattern: "*.com" }] }] })), /L11 .*top-level domain/],
      [lint(select("api", { egress: [{ toFQDNs: [{ matchName: "a.com" }] }] })), /L02 .*no rule of this policy lets the pods ask DNS/],
      [lint(select("api", { egress: [{ toEndpoints: from("web") }] })), /L13 shop\/p0: cuts shop \[k8s:app=api\] off from DNS/],
      [
        lint(select("api", { ingress: [{ fromEndpoints: [{}], toPorts: http }] })),
        /L17 .*"\/api\/\.\*"[\s\S]*L17 .*shop\\\.example\\\.com|L17 .*shop\\\.example\\\.com[\s\S]*L17 .*"\/api\/\.\*"/,
      ],
      [
        lint(select("web", { egress: [{}] }), select("api", { ingress: [{ fromEndpoints: from("web"), toPorts: port80 }] })),
        /L19 shop\/p1 \(ingress\) rule 0: lets shop \[k8s:app=web\] in, but the egress/,
      ],
      [lint(select("api", { ingress: [] })), /L21 .*not portable/],
      [lint(select("api", { ingress: [{ fromEndpoint: [{}] }] })), /L16 .*did you mean "fromEndpoints"/],
    ];
    for (const [text, wanted] of cases) assert.match(text, wanted);
  });
});
