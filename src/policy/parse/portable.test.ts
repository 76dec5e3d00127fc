import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { settingsWith } from "../settings.ts";
import { parsePolicy } from "./parse.ts";
import { portablePolicy } from "./portable.ts";

const policy = (spec: unknown) => ({ kind: "CiliumNetworkPolicy", metadata: { name: "p", namespace: "shop" }, spec });

describe("portablePolicy", () => {
  it("writes what Cilium accepts for each extension", () => {
    const specs = [
      { endpointSelector: {}, ingress: [], egress: [] },
      { endpointSelector: {}, egress: [{ toEntities: ["dns"] }] },
      { endpointSelector: {}, egress: [{ toEntities: ["dns", "host"], toPorts: [{ ports: [{ port: "53" }] }] }] },
      { endpointSelector: {}, ingress: [{ toPorts: [{ ports: [{ port: "80" }], rules: { http: [{}] } }] }] },
      { endpointSelector: {}, egress: [{ toEntities: ["kube-apiserver"], toPorts: [{ ports: [{ port: "443", protocol: "TCP" }] }] }] },
    ];
    for (const spec of specs) {
      assert.notEqual(parsePolicy(policy(spec)).warnings.length, 0, JSON.stringify(spec));
      const { issues, warnings } = parsePolicy(portablePolicy(policy(spec)), settingsWith({ extensions: false }));
      assert.deepEqual([...issues, ...warnings], [], JSON.stringify(spec));
    }
  });

  it("keeps what is portable as it is", () => {
    const sound = policy({ endpointSelector: {}, ingress: [{ fromEndpoints: [{}] }], egress: [] });
    assert.deepEqual(portablePolicy(sound), sound);
    assert.deepEqual(portablePolicy({ kind: "Pod" }), { kind: "Pod" });
  });
});
