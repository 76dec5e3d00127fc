import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { cilium, type Lab, root, run, startLab } from "./lab.ts";

const HOST_PORT = 18_080;

const CONFIG = (directory: string) => `kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
name: shop
networking:
  disableDefaultCNI: true
  kubeProxyMode: none
  apiServerPort: 16443
nodes:
  - role: control-plane
  - role: worker
    labels: { tier: web }
    extraPortMappings: [{ containerPort: 8080, hostPort: ${HOST_PORT}, listenAddress: 127.0.0.1 }]
    extraMounts: [{ hostPath: ${directory}, containerPath: /from-the-machine, readOnly: true }]
`;

const POD = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web", namespace: "default" },
  spec: {
    nodeSelector: { tier: "web" },
    hostNetwork: true,
    containers: [
      { name: "main", image: "nginx", ports: [{ containerPort: 8080 }], volumeMounts: [{ name: "files", mountPath: "/files" }] },
    ],
    volumes: [{ name: "files", hostPath: { path: "/from-the-machine" } }],
  },
};

describe("cilium lab up --config FILE", { skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
  const directory = mkdtempSync(join(tmpdir(), "kind-config-"));
  let lab: Lab;
  before(async () => {
    writeFileSync(join(directory, "kind.yaml"), CONFIG(directory));
    lab = await startLab("--config", join(directory, "kind.yaml"));
    writeFileSync(join(directory, "pod.json"), JSON.stringify(POD));
    await lab.kubectl("apply", "-f", join(directory, "pod.json"));
  });
  after(async () => {
    await lab?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  it("boots the nodes of the file, with their labels and the API server's port", async () => {
    const { stdout } = await lab.kubectl("get", "nodes", "-o", "jsonpath={range .items[*]}{.metadata.name}={.metadata.labels.tier} {end}");
    assert.equal(stdout, "cilia-control-plane= cilia-worker=web ");
    assert.match((await lab.kubectl("cluster-info")).stdout, /https:\/\/127\.0\.0\.1:16443/);
    assert.match((await cilium("lab", "status")).stdout, /Lab: +ready/);
  });

  it("leads a port of the machine to the node, and shows the machine's files on it", async () => {
    assert.equal((await lab.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=90s")).code, 0);
    assert.equal((await lab.kubectl("get", "pod", "web", "-o", "jsonpath={.spec.nodeName}")).stdout, "cilia-worker");
    const answer = () => fetch(`http://127.0.0.1:${HOST_PORT}/`).then((response) => response.text(), String);
    let page = await answer();
    for (let again = 0; again < 50 && !page.includes("nginx"); again += 1) {
      await delay(100);
      page = await answer();
    }
    assert.match(page, /Welcome to nginx/);
    const { stdout, stderr } = await lab.kubectl("exec", "web", "--", "head", "-1", "/files/kind.yaml");
    assert.equal(stdout, "kind: Cluster\n", stderr);
    assert.match((await lab.kubectl("exec", "web", "--", "touch", "/files/x")).stderr, /Read-only file system/);
  });

  it("takes a path that is relative to where it is called, and says what has no effect", async () => {
    const command = join(root, "bin/cilium");
    const { code, stderr } = await run(command, ["lab", "up", "--config", "kind.yaml"], { cwd: directory });
    assert.equal(code, 1);
    assert.match(stderr, /^note: kind\.yaml:3: name has no effect in the lab$/m);
    assert.match(stderr, /a lab runs already/);
  });
});
