// The lab without Cilium: kubelet, controllers and API server with a plain CNI plugin.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, writeFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { cilium, type Lab, type Outcome, root, run, startLab } from "./lab.ts";

interface Report {
  readonly nodes: readonly { readonly name: string; readonly pid: number }[];
}

const POD = (name: string, extra: object, container: object) =>
  JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels: { app: name } },
    spec: { terminationGracePeriodSeconds: 1, ...extra, containers: [{ name: "main", image: "curlimages/curl", ...container }] },
  });

async function readReport(): Promise<Report> {
  return JSON.parse((await cilium("lab", "status", "-o", "json")).stdout) as Report;
}

/** Gives every node a network, as an agent would when it is ready. */
async function connectNodes(): Promise<void> {
  for (const [index, node] of (await readReport()).nodes.entries()) {
    const files = `/proc/${node.pid}/root`;
    copyFileSync(`${root}test/e2e/fixtures/plain-cni`, `${files}/opt/cni/bin/plain-cni`);
    const list = { name: "plain", cniVersion: "1.0.0", plugins: [{ type: "plain-cni", prefix: `10.244.${index}` }] };
    writeFileSync(`${files}/etc/cni/net.d/10-plain.conflist`, JSON.stringify(list));
  }
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await delay(100)) if (await condition()) return;
  assert.fail(`never: ${what}`);
}

describe("the lab's kubelet", { skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
  let lab: Lab;
  before(async () => {
    lab = await startLab("--nodes", "2", "--bare", "--no-wait");
    await connectNodes();
  });
  after(async () => {
    await lab[Symbol.asyncDispose]();
  });

  const apply = (text: string) => run("sh", ["-c", 'printf %s "$1" | kubectl apply -f -', "sh", text], { env: lab.env });
  const exec = (pod: string, ...command: string[]): Promise<Outcome> => lab.kubectl("exec", pod, "--", ...command);
  const ready = (pod: string) => lab.kubectl("wait", "--for=condition=Ready", `pod/${pod}`, "--timeout=90s");
  const field = async (pod: string, path: string) => (await lab.kubectl("get", "pod", pod, "-o", `jsonpath={${path}}`)).stdout;

  it("runs a pod in its own network, with its name, addresses and resolver", async () => {
    await apply(
      POD("shell", {}, { command: ["sleep", "infinity"], env: [{ name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }] }),
    );
    assert.equal((await ready("shell")).code, 0);
    const ip = await field("shell", ".status.podIP");
    assert.match(ip, /^10\.244\.1\.\d+$/);
    const { stdout } = await exec("shell", "sh", "-c", "hostname; echo $IP; hostname -i; cat /etc/resolv.conf; ip -br address");
    assert.match(stdout, new RegExp(`^shell\n${ip}\n${ip}`));
    assert.match(stdout, /nameserver 10.96.0.10/);
    assert.equal((stdout.match(/^\w+/gm) ?? []).filter((word) => word === "eth0").length, 1);
  });

  it("passes exit codes and standard input on", async () => {
    assert.equal((await exec("shell", "sh", "-c", "exit 7")).code, 7);
    assert.equal((await exec("shell", "no-such-program")).code, 127);
    const { stdout } = await run("sh", ["-c", "echo hello | kubectl exec -i shell -- cat"], { env: lab.env });
    assert.equal(stdout, "hello\n");
  });

  it("shows whoever runs a command all that it says, however short it is", async () => {
    const say = (name: string, ...command: string[]) =>
      run("sh", ["-c", 'echo hello | kubectl run -i --rm --restart=Never --image=busybox "$@"', "sh", name, "--", ...command], {
        env: lab.env,
      });
    assert.match((await say("brief", "echo", "hi")).stdout, /^hi$/m);
    assert.match((await say("polite", "sh", "-c", "echo one; cat; echo two")).stdout, /^one\nhello\ntwo$/m);
  });

  it("hides the machine's processes from a pod", async () => {
    const { stdout } = await exec("shell", "ps", "-eo", "pid=,comm=");
    assert.match(stdout, /^ *1 cilia-sandbox\n *\d+ sleep\n *\d+ ps\n$/);
  });

  it("keeps what a pod writes to itself", async () => {
    await exec("shell", "touch", "/usr/here-only");
    assert.equal((await exec("shell", "test", "-e", "/usr/here-only")).code, 0);
    assert.equal(existsSync("/usr/here-only"), false);
  });

  it("serves HTTP between pods, answers probes, keeps logs", async () => {
    const server = { image: "nginx:1.27-alpine", ports: [{ containerPort: 3000 }], readinessProbe: { httpGet: { path: "/", port: 3000 } } };
    await apply(POD("web", {}, server));
    assert.equal((await ready("web")).code, 0);
    const { stdout } = await exec("shell", "curl", "-sI", "-m", "2", `http://${await field("web", ".status.podIP")}:3000/`);
    assert.match(stdout, /^HTTP\/1.1 200 OK\r\nServer: nginx\/1.27.5/);
    await apply(POD("talker", {}, { command: ["sh", "-c", "echo one >/dev/stdout; echo two >/dev/stderr; sleep infinity"] }));
    await until(
      "both lines are logged",
      async () => (await lab.kubectl("logs", "talker")).stdout.trim().split("\n").toSorted().join() === "one,two",
    );
  });

  it("forwards a port", async () => {
    const forward = spawn("kubectl", ["port-forward", "pod/web", ":3000"], { env: lab.env, stdio: ["ignore", "pipe", "inherit"] });
    try {
      const [line] = (await once(forward.stdout, "data")) as [Buffer];
      const port = /127.0.0.1:(\d+)/.exec(line.toString())?.[1];
      const answer = await fetch(`http://127.0.0.1:${port}/`);
      assert.match(await answer.text(), /Welcome to nginx/);
    } finally {
      forward.kill();
      await once(forward, "close");
    }
  });

  it("restarts a container whose liveness probe fails", async () => {
    const livenessProbe = { exec: { command: ["test", "!", "-e", "/tmp/sick"] }, periodSeconds: 1, failureThreshold: 1 };
    await apply(POD("patient", {}, { command: ["sleep", "infinity"], livenessProbe }));
    assert.equal((await ready("patient")).code, 0);
    await exec("patient", "touch", "/tmp/sick");
    await until("a restart", async () => Number(await field("patient", ".status.containerStatuses[0].restartCount")) >= 1);
    await lab.kubectl("delete", "pod", "patient", "--now", "--wait=false");
  });

  it("restarts what ends, and says that it backs off", async () => {
    await apply(POD("crash", {}, { command: ["sh", "-c", "echo died; exit 3"] }));
    await until(
      "CrashLoopBackOff",
      async () => (await field("crash", ".status.containerStatuses[0].state.waiting.reason")) === "CrashLoopBackOff",
    );
    assert.equal(await field("crash", ".status.containerStatuses[0].lastState.terminated.exitCode"), "3");
    assert.equal((await lab.kubectl("logs", "--previous", "crash")).stdout, "died\n");
  });

  it("ends a pod that is done, and keeps it until it is deleted", async () => {
    await apply(POD("once", { restartPolicy: "Never" }, { command: ["true"] }));
    await until("Succeeded", async () => (await field("once", ".status.phase")) === "Succeeded");
    await lab.kubectl("delete", "pod", "once", "--timeout=90s");
    assert.notEqual((await lab.kubectl("get", "pod", "once")).code, 0);
  });

  for (const image of ["curlimages/curl", "busybox", "nginx"])
    it(`runs the command given to ${image} as its arguments`, async () => {
      const name = image.replaceAll("/", "-");
      await lab.kubectl("run", name, `--image=${image}`, "--", "sleep", "1000");
      assert.equal((await ready(name)).code, 0);
      assert.match((await exec(name, "ps", "-eo", "args=")).stdout, /^sleep 1000$/m);
    });

  it("gives arguments that are no command to the image's program", async () => {
    await apply(POD("asks", { restartPolicy: "Never" }, { args: ["-s", "--version"] }));
    await until("Succeeded", async () => (await field("asks", ".status.phase")) === "Succeeded");
    assert.match((await lab.kubectl("logs", "asks")).stdout, /^curl \d/);
  });

  it("deletes a namespace and what is in it, as one file has them", async () => {
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "whole" } };
    const map = (name: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "whole" }, data: {} });
    const text = JSON.stringify({ apiVersion: "v1", kind: "List", items: [namespace, map("a"), map("b")] });
    assert.equal((await apply(text)).code, 0);
    const { code, stderr } = await run("sh", ["-c", 'printf %s "$1" | kubectl delete -f -', "sh", text], { env: lab.env });
    assert.deepEqual([code, stderr], [0, ""]);
    assert.notEqual((await lab.kubectl("get", "namespace", "whole")).code, 0);
  });

  it("says which images there are when one is not", async () => {
    await apply(POD("unknown", {}, { image: "example.com/nothing:1" }));
    await until("ErrImagePull", async () =>
      /ErrImagePull|ImagePullBackOff/.test(await field("unknown", ".status.containerStatuses[0].state.waiting.reason")),
    );
    assert.match(
      await field("unknown", ".status.containerStatuses[0].state.waiting.message"),
      /the lab has no such image; it has: .*nginx/,
    );
  });

  it("mounts ConfigMaps and service account tokens, and follows changes of the first", async () => {
    await lab.kubectl("create", "configmap", "settings", "--from-literal=colour=red");
    const volumes = { volumes: [{ name: "settings", configMap: { name: "settings" } }] };
    await apply(POD("reader", volumes, { command: ["sleep", "infinity"], volumeMounts: [{ name: "settings", mountPath: "/settings" }] }));
    assert.equal((await ready("reader")).code, 0);
    assert.equal((await exec("reader", "cat", "/settings/colour")).stdout, "red");
    assert.match((await exec("reader", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token")).stdout, /^ey/);
    await lab.kubectl("create", "configmap", "settings", "--from-literal=colour=blue", "-o", "yaml", "--dry-run=client");
    await lab.kubectl("patch", "configmap", "settings", "-p", '{"data":{"colour":"blue"}}');
    await until("the new value", async () => (await exec("reader", "cat", "/settings/colour")).stdout === "blue");
  });
});
