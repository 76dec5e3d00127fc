import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { KUBECTLS, type KubectlCluster, startKubectlCluster } from "./api-server.ts";
import { root, run } from "./lab.ts";

const HELM = join(root, "build/bin/helm");

const TEMPLATE = `
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-settings}
data: {greeting: {{ .Values.greeting | quote }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: main, image: nginx}]}
`;

describe("helm 4", { skip: existsSync(HELM) ? false : "no build/bin/helm: run npm run setup" }, () => {
  let cluster: KubectlCluster;
  before(async () => {
    cluster = await startKubectlCluster(KUBECTLS[0] ?? "kubectl");
    mkdirSync(join(cluster.directory, "chart/templates"), { recursive: true });
    cluster.file("chart/Chart.yaml", "apiVersion: v2\nname: demo\nversion: 0.1.0\n");
    cluster.file("chart/values.yaml", "greeting: hello\nreplicas: 1\n");
    cluster.file("chart/templates/all.yaml", TEMPLATE);
  });
  after(() => cluster[Symbol.asyncDispose]());
  const helm = async (line: string) => {
    const { code, stdout, stderr } = await run(HELM, line.split(" "), { env: cluster.env, cwd: cluster.directory });
    assert.equal(code, 0, `helm ${line}: ${stderr}`);
    return stdout;
  };
  const get = async (line: string) => (await cluster.kubectl(["-n", "tenant", ...line.split(" ")])).stdout;

  it("installs into a new namespace", async () => {
    assert.match(await helm("install demo ./chart -n tenant --create-namespace"), /STATUS: deployed/);
    assert.equal(await get("get deploy demo -o jsonpath={.spec.replicas}"), "1");
    assert.match(await get("get secrets"), /sh.helm.release.v1.demo.v1 +helm.sh\/release.v1/);
  });
  it("upgrades, lists and rolls back", async () => {
    await helm("upgrade demo ./chart -n tenant --set replicas=3,greeting=bye");
    assert.equal(await get("get deploy demo -o jsonpath={.spec.replicas}"), "3");
    assert.match(await helm("list -n tenant"), /demo\s+tenant\s+2/);
    await helm("rollback demo 1 -n tenant");
    assert.equal(await get("get cm demo-settings -o jsonpath={.data.greeting}"), "hello");
  });
  it("tries on the server without doing", async () => {
    assert.match(await helm("upgrade demo ./chart -n tenant --set replicas=9 --dry-run=server"), /replicas: 9/);
    assert.equal(await get("get deploy demo -o jsonpath={.spec.replicas}"), "1");
  });
  it("uninstalls everything", async () => {
    await helm("uninstall demo -n tenant");
    assert.equal(await get("get deploy,cm,secret -o name"), "configmap/kube-root-ca.crt\n");
  });
});
