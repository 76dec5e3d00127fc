import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { KUBECTLS, type KubectlCluster, startKubectlCluster } from "./api-server.ts";
import { root } from "./lab.ts";

const CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1', b: '1'}\n";

const POLICY = `
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{method: GET, path: "/public/.*"}]}
  egress: []
`;

for (const kubectl of KUBECTLS) {
  describe(`apply by ${kubectl}`, () => {
    let cluster: KubectlCluster;
    before(async () => {
      cluster = await startKubectlCluster(kubectl);
    });
    after(() => cluster[Symbol.asyncDispose]());
    const k = (line: string, input?: string) => cluster.kubectl(line.split(" "), input);
    const ok = async (line: string, input?: string) => {
      const { code, stdout, stderr } = await k(line, input);
      assert.equal(code, 0, `${line}: ${stderr}`);
      return stdout;
    };

    it("on the server's side creates, conflicts and takes over", async () => {
      assert.match(await ok("apply --server-side -f -", CONFIG), /serverside-applied/);
      await ok('patch cm c --field-manager=editor -p {"data":{"a":"2"}}');
      const refused = await k("apply --server-side -f -", CONFIG);
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /Apply failed with 1 conflict: conflict with "editor" using v1: .data.a/);
      await ok("apply --server-side --force-conflicts -f -", CONFIG);
      assert.equal(await ok("get cm c -o jsonpath={.data}"), '{"a":"1","b":"1"}');
    });

    it("on the server's side removes what is no longer said", async () => {
      await ok("apply --server-side -f -", CONFIG.replace(", b: '1'", ""));
      assert.equal(await ok("get cm c -o jsonpath={.data}"), '{"a":"1"}');
    });

    it("takes back what get -o yaml printed, a List", async () => {
      await ok("apply -f -", CONFIG.replace("name: c", "name: listed"));
      const printed = await ok("get cm -l !none -o yaml");
      assert.match(printed, /kind: List/);
      assert.match(await ok("apply -f -", printed), /configmap\/listed (configured|unchanged)/);
    });

    it("moves from the client's side to the server's without conflicts", async () => {
      const other = CONFIG.replace("name: c", "name: moved");
      await ok("apply -f -", other);
      await ok("apply --server-side -f -", other.replace("'1'", "'5'"));
      assert.equal(await ok("get cm moved -o jsonpath={.data.a}"), "5");
    });

    it("shows managed fields, and differences before they are made", async () => {
      assert.match(await ok("get cm c -o yaml --show-managed-fields"), /f:data:\n +f:a: {}\n {4}manager: kubectl\n {4}operation: Apply/);
      const difference = await k("diff -f -", CONFIG.replace("'1'", "'9'"));
      assert.equal(difference.code, 1, difference.stderr);
      assert.match(difference.stdout, /- {2}a: "1"\n\+ {2}a: "9"/);
      assert.equal((await k("diff --server-side -f -", CONFIG.replace(", b: '1'", ""))).code, 0);
    });

    it("tries without doing, on the server", async () => {
      assert.match(await ok("apply --dry-run=server -f -", CONFIG.replace("name: c", "name: tried")), /created \(server dry run\)/);
      assert.equal((await k("get cm tried")).code, 1);
    });

    it("of Cilium's definitions makes its kinds known, with columns, short names and categories", async () => {
      const count = readdirSync(join(root, "api/crds")).length;
      assert.equal((await ok(`apply -f ${join(root, "api/crds")}`)).match(/ created/g)?.length, count);
      await ok("wait crd --all --for=condition=Established --timeout=90s");
      await ok("apply -f -", POLICY);
      assert.match(await ok("get cnp"), /NAME +AGE +VALID +NODES +HITS\np +\d+s/);
      assert.match(await ok("get ciliumpolicy"), /ciliumnetworkpolicy.cilium.io\/p|^NAME/);
      assert.match(await ok("explain cnp.spec.ingress.toPorts.rules"), /http\t<\[\]Object>/);
      assert.match(await ok("describe cnp p"), /Method: +GET/);
    });

    it("of a policy with mistakes says where they are", async () => {
      const cases: readonly [from: string, to: string, message: RegExp][] = [
        ["fromEndpoints", "fromEndpoint", /unknown field "spec.ingress\[0\].fromEndpoint"/],
        ["protocol: TCP", "protocol: TPC", /spec.ingress\[0\].toPorts\[0\].ports\[0\].protocol: Unsupported value: "TPC"/],
        ['port: "80"', "port: 80", /spec.ingress\[0\].toPorts\[0\].ports\[0\].port: Invalid value: 80: must be of type string/],
        ["endpointSelector: {matchLabels: {app: api}}", "description: x", /spec.endpointSelector: Required value/],
      ];
      for (const [from, to, message] of cases) {
        const { code, stderr } = await k("apply -f -", POLICY.replace(from, to).replace("name: p", "name: q"));
        assert.notEqual(code, 0, to);
        assert.match(stderr, message);
      }
    });

    it("deletes custom objects with their definition", async () => {
      await ok("delete crd ciliumnetworkpolicies.cilium.io");
      assert.match((await k("get cnp")).stderr, /doesn't have a resource type "cnp"|could not find the requested resource/);
    });
  });
}
