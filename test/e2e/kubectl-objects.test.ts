import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { KUBECTLS, type KubectlCluster, startKubectlCluster, untilText } from "./api-server.ts";
import type { Outcome } from "./lab.ts";

const WEB = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: nginx, image: "nginx:1.27-alpine", ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}
`;

for (const kubectl of KUBECTLS) {
  describe(`objects by ${kubectl}`, () => {
    let cluster: KubectlCluster;
    let manifest: string;
    before(async () => {
      cluster = await startKubectlCluster(kubectl);
      manifest = cluster.file("web.yaml", WEB);
    });
    after(() => cluster[Symbol.asyncDispose]());

    const k = (line: string, input?: string): Promise<Outcome> => cluster.kubectl(line.split(" "), input);
    const prints = async (line: string, expected: RegExp, input?: string) => {
      const { code, stdout, stderr } = await k(line, input);
      assert.equal(code, 0, `${line}: ${stderr}`);
      assert.match(stdout, expected, line);
    };
    const fails = async (line: string, expected: RegExp, input?: string) => {
      const { code, stderr } = await k(line, input);
      assert.notEqual(code, 0, line);
      assert.match(stderr, expected, line);
    };

    it("are applied: created, unchanged, configured", async () => {
      await prints(`apply -f ${manifest}`, /^deployment.apps\/web created\nservice\/web created\n$/);
      await prints(`apply -f ${manifest}`, /^deployment.apps\/web unchanged\nservice\/web unchanged\n$/);
      await prints("apply -f -", /^deployment.apps\/web configured\nservice\/web unchanged\n$/, WEB.replace("replicas: 2", "replicas: 3"));
      await prints("get deployment web -o jsonpath={.spec.replicas}", /^3$/);
    });

    it("are shown as tables, wide, JSON, YAML, names and by custom columns", async () => {
      await prints("get deploy,svc", /NAME +READY +UP-TO-DATE +AVAILABLE +AGE\ndeployment.apps\/web +0\/3 +0 +0 +\d+s\n/);
      await prints("get deploy -o wide", /CONTAINERS +IMAGES +SELECTOR\nweb .* nginx +nginx:1.27-alpine +app=web/);
      await prints("get svc web", /TYPE +CLUSTER-IP +EXTERNAL-IP +PORT\(S\) +AGE\nweb +NodePort +10\.96\.\d+\.\d+ +<none> +80:3\d{4}\/TCP/);
      await prints("get svc web -o json", /"sessionAffinity": "None"/);
      await prints("get svc web -o yaml", /ipFamilyPolicy: SingleStack/);
      await prints("get all -o name", /deployment.apps\/web/);
      await prints("get svc -A -l app!=x --sort-by=.metadata.name -o custom-columns=N:.metadata.name", /N\nkubernetes\nweb\n/);
      await prints("get ns", /NAME +STATUS +AGE\ndefault +Active/);
    });

    it("are labelled, annotated, scaled, patched, edited and described", async () => {
      await prints("label deploy web tier=front", /labeled/);
      await prints("annotate deploy web note=x", /annotated/);
      await prints("scale deploy web --replicas=5", /scaled/);
      await prints('patch deploy web -p {"spec":{"template":{"spec":{"containers":[{"name":"nginx","image":"nginx:2"}]}}}}', /patched/);
      await prints('patch deploy web --type json -p [{"op":"replace","path":"/spec/replicas","value":6}]', /patched/);
      await prints('patch deploy web --type merge -p {"metadata":{"labels":{"tier":null}}}', /patched/);
      await prints("set image deploy/web nginx=nginx:3", /image updated/);
      cluster.env.KUBE_EDITOR = "sed -i s/nginx:3/nginx:4/";
      await prints("edit deploy web", /edited/);
      await prints(
        "get deploy web -o jsonpath={.spec.replicas}{.spec.template.spec.containers[*].image}{.metadata.labels}",
        /^6nginx:4{"app":"web"}$/,
      );
      await prints("describe deploy web", /Replicas: +6 desired[\s\S]*Image: +nginx:4/);
      await prints("describe svc web", /TargetPort: +80\/TCP/);
    });

    it("are watched", async () => {
      const watch = cluster.start(["get", "deploy", "web", "-w", "--no-headers"]);
      await untilText(watch.stdout, /web +0\/6/);
      const changed = untilText(watch.stdout, /web +0\/7/);
      await k("scale deploy web --replicas=7");
      await changed;
      watch.kill();
    });

    it("are waited for, and a roll-out is followed", async () => {
      const done = k("rollout status deploy/web --timeout=90s");
      const { client } = cluster.api;
      const generation = client.get<{ metadata: { generation: number } }>("deployments.apps", "web", "default")?.metadata.generation;
      const conditions = [{ type: "Available", status: "True" }];
      const counts = { replicas: 7, updatedReplicas: 7, readyReplicas: 7, availableReplicas: 7 };
      client.patch(
        "deployments.apps",
        "web",
        "default",
        { status: { ...counts, observedGeneration: generation, conditions } },
        { subresource: "status" },
      );
      assert.match((await done).stdout, /deployment "web" successfully rolled out/);
      await prints("wait deploy/web --for=condition=Available --timeout=90s", /condition met/);
      await prints("rollout restart deploy/web", /restarted/);
    });

    it("are created by generators, also by those that send protobuf", async () => {
      await prints("create ns team", /namespace\/team created/);
      await prints("-n team create deployment d --image=nginx --replicas=0", /created/);
      await prints("-n team get deploy d -o jsonpath={.spec.replicas}", /^0$/);
      await prints("-n team create configmap c --from-literal=a=b", /created/);
      await prints("-n team create secret generic s --from-literal=a=b", /created/);
      await prints("-n team get secret s -o jsonpath={.data.a}", /^Yg==$/);
      await prints("-n team create job j --image=busybox -- true", /created/);
      await prints("-n team create ingress i --rule=a.b/c=web:80", /created/);
      await prints("-n team get ingress i -o jsonpath={.spec.rules[0].http.paths[0].backend.service.name}", /^web$/);
      await prints("-n team create role r --verb=get --resource=pods", /created/);
      await prints("-n team create rolebinding rb --role=r --serviceaccount=team:default", /created/);
      await prints("-n team create pdb p --selector=a=b --min-available=1", /created/);
      await prints("-n team create token default", /^ey[\w-]+\.[\w-]+\.[\w-]+\n?$/);
      await prints("-n team run one --image=nginx --restart=Never", /pod\/one created/);
      await prints("-n team expose deploy d --port=80 --name=dsvc", /exposed/);
    });

    it("go with their namespace", async () => {
      await prints("delete ns team", /namespace "team" deleted/);
      await fails("get ns team", /namespaces "team" not found/);
    });

    it("that are wrong are refused in kubectl's words", async () => {
      await fails("apply -f -", /unknown field "spec.replica"/, WEB.replace("replicas", "replica"));
      await fails(
        "apply -f -",
        /spec.replicas: Invalid value: "many": must be of type integer/,
        WEB.replace("replicas: 2", "replicas: many"),
      );
      await prints("apply --validate=warn -f -", /deployment.apps\/web/, WEB.replace("replicas: 2", "replica: 2"));
      await fails("get pod nothing", /Error from server \(NotFound\): pods "nothing" not found/);
      await fails("get unicorns", /the server doesn't have a resource type "unicorns"/);
      await fails("create -f -", /Error from server \(AlreadyExists\)/, WEB);
      await fails("run Bad_Name --image=x", /RFC 1123/);
    });

    it("are deleted, one, by label, and all", async () => {
      await prints(`delete -f ${manifest}`, /service "web" deleted/);
      await fails("delete svc web", /not found/);
      await prints("delete svc web --ignore-not-found", /^$/);
      await prints("create configmap one", /created/);
      await prints("label cm one x=y", /labeled/);
      await prints("delete cm -l x=y", /configmap "one" deleted/);
    });

    it("are explained, and the server introduces itself", async () => {
      await prints("explain deployment.spec.template.spec.containers.ports", /FIELDS:\n {2}containerPort\t<integer> -required-/);
      await prints("explain networkpolicy.spec --recursive", /podSelector/);
      await prints("api-resources --namespaced=false -o name", /^clusterroles.rbac.authorization.k8s.io$/m);
      await prints("api-resources --categories=all -o name", /^deployments.apps$/m);
      await prints("api-versions", /^apps\/v1$/m);
      await prints("version -o json", /"serverVersion"/);
      await prints("auth can-i create pods", /yes/);
      await prints("auth whoami", /kubernetes-admin/);
      await prints("get --raw /readyz", /^ok$/);
    });
  });
}
