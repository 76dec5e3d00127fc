import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { type Lab, type Outcome, root, run, startLab } from "./lab.ts";

/** Pods that end take connections for the seconds of their preStop, when there are no others. */
const PATIENCE_MS = 60_000;

/** What each command of docs/howto/services.md must print; all must succeed. */
const HOWTO: readonly (readonly [command: RegExp, output: RegExp])[] = [
  [/^kubectl apply .*web.yaml$/, /service\/web created/],
  [/^kubectl .*rollout status/, /successfully rolled out/],
  [/^kubectl .*wait .*client$/, /condition met/],
  [/^kubectl .*exec client .*http:\/\/web.shop\/$/, /^200$/],
  [/^\$WORLD_EXEC curl .*:31090\/$/, /^200$/],
  [/^cilium service list$/, /0\.0\.0\.0:31090\/TCP +NodePort +1 => 10\.244\.\S+ \(active\) +shop\/web$/m],
  [/^cilium service get shop\/web$/, /^\d+, \d+, \d+ +service +shop\/web port http$/m],
  [/^cilium bpf lb list --frontends$/, /172\.18\.0\.2:31090\/TCP +external +3 +0 +NodePort/],
  [/^cilium bpf nat list$/, /XLATE_SRC 172\.18\.0\.2:/],
  [/^cilium status --verbose$/, /KubeProxyReplacement: +True.*\[eth0[\s\S]*NodePort: +Enabled \(Range: 30000-32767\)/],
  [/^cilium service list --problems$/, /every service can be used/],
  [/^kubectl apply .*load-balancer.yaml$/, /service\/public created/],
  [/^kubectl .*wait .*svc\/public$/, /condition met/],
  [/^\$WORLD_EXEC curl .*172\.18\.255\.9\/$/, /^200$/],
  [/^kubectl get ippools$/, /lab +false +False +15/],
  [/^cilium bpf lb list --maglev$/, /172\.18\.255\.9:80\/TCP +16381/],
  [/^cilium service get 172.18.255.9:80$/, /traffic policy +external Local, internal Cluster/],
  [/^hubble observe .*SERVICE_BACKEND_NOT_FOUND$/, /^/],
  [/^kubectl .*patch svc web/, /patched/],
  [/^kubectl .*exec client .*198.51.100.80\/$/, /^200$/],
  [/^\$WORLD_EXEC ip route replace/, /^$/],
  [/^\$WORLD_EXEC curl .*198.51.100.80\/$/, /^200$/],
  [/^\$WORLD_EXEC ip route del/, /^$/],
  [/^kubectl apply .*local-redirect.yaml$/, /cache created/],
  [/^cilium lrp list$/, /shop\/cache +10\.96\.\S+:80\/TCP/],
  [/^cilium service get shop\/cache$/, /redirected by +CiliumLocalRedirectPolicy shop\/cache on cilia-worker/],
  [/^kubectl .*rollout restart/, /restarted/],
  [/^kubectl .*rollout status/, /successfully rolled out/],
  [/^kubectl delete/, /deleted/],
];

function commandsOf(file: string): string[] {
  const blocks = [...readFileSync(`${root}${file}`, "utf8").matchAll(/```\n([\s\S]*?)```/g)].map(([, block = ""]) => block);
  return blocks.flatMap((block) => block.split("\n").filter((line) => line !== ""));
}

describe("services in a lab", () => {
  let lab: Lab;
  before(async () => {
    lab = await startLab();
  });
  after(() => lab[Symbol.asyncDispose]());

  const shell = (command: string, timeoutMs = 60_000): Promise<Outcome> => run("bash", ["-c", command], { env: lab.env, timeoutMs });
  /** Runs it until it prints what is expected; the network's routes and the agents are a moment behind kubectl. */
  const eventually = async (command: string, output: RegExp, code = 0): Promise<Outcome> => {
    const deadline = performance.now() + PATIENCE_MS;
    let outcome = await shell(command);
    while (!(outcome.code === code && output.test(outcome.stdout)) && performance.now() < deadline) outcome = await shell(command);
    assert.equal(outcome.code, code, `${command}: ${outcome.stdout}${outcome.stderr}`);
    assert.match(outcome.stdout, output, command);
    return outcome;
  };
  const load = (where: string, host: string, port: number) =>
    shell(`${where} ${process.execPath} ${root}test/e2e/connection-load.ts ${host} ${port} 250 10`, 90_000);

  it("work without kube-proxy: the API server's own address answers, and no rule is made for a service", async (t) => {
    // Without the tool the kernel says whether there is any table at all.
    const tool = (await shell("command -v iptables-save")).code === 0 ? "iptables-save" : "cat /proc/net/ip_tables_names";
    t.diagnostic(`compared: ${tool}`);
    const rules = `nsenter --net=/run/netns/cilia-worker ${tool} | wc -l`;
    const before = (await shell(rules)).stdout;
    const manifest = Array.from({ length: 60 }, (_, i) => ({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: `many-${i}`, namespace: "default" },
      spec: { type: "NodePort", ports: [{ port: 80 }] },
    }));
    const made = await shell(
      `kubectl create -f - <<'END' | wc -l\n${JSON.stringify({ apiVersion: "v1", kind: "List", items: manifest })}\nEND`,
    );
    assert.equal(made.stdout.trim(), "60", made.stderr);
    await eventually("cilium service list | grep -c NodePort", /^120$/m);
    assert.equal((await shell(rules)).stdout, before);
    await eventually("nsenter --net=/run/netns/cilia-worker true && kubectl get --raw /readyz", /ok/);
    await shell("kubectl delete svc --wait=false $(seq -f many-%g 0 59)", 90_000);
  });

  it("do what docs/howto/services.md says, command by command", async () => {
    const commands = commandsOf("docs/howto/services.md");
    assert.equal(commands.length, HOWTO.length, "the page and this table have the same commands");
    for (const [index, command] of commands.entries()) {
      const [expected, output] = HOWTO[index] ?? [/^$/, /^$/];
      assert.match(command, expected);
      if (command.startsWith("kubectl delete")) break;
      await eventually(command, output);
    }
  });

  it("lose no request while ten replicas are replaced one after the other", async () => {
    await shell("kubectl -n shop scale deploy/web --replicas=10 && kubectl -n shop rollout status deploy/web");
    const { stdout: address } = await shell("kubectl -n shop get svc web -o jsonpath='{.spec.clusterIP}'");
    const loads = [load("kubectl -n shop exec client --", address, 80), load("$WORLD_EXEC", "172.18.0.2", 31090)];
    const restart = await shell("kubectl -n shop rollout restart deploy/web && kubectl -n shop rollout status deploy/web", 90_000);
    assert.match(restart.stdout, /successfully rolled out/);
    for (const { stdout, stderr } of await Promise.all(loads)) {
      assert.deepEqual({ ...(JSON.parse(stdout || "{}") as object), seconds: 0 }, { answered: 2500, failures: {}, seconds: 0 }, stderr);
    }
  });

  it("tell load balancers which nodes have backends, and refuse callers where there are none", async () => {
    await shell("kubectl -n shop scale deploy/web --replicas=1 && kubectl -n shop rollout status deploy/web");
    const { stdout: port } = await shell("kubectl -n shop get svc public -o jsonpath='{.spec.healthCheckNodePort}'");
    const ask = `for n in 2 3 4; do $WORLD_EXEC curl -s -m 3 -o /dev/null -w '%{http_code} ' http://172.18.0.$n:${port}/; done`;
    await eventually(ask, /^503 (200 503|503 200) $/);
    // A node without a backend is silent, and says so to whoever watches.
    const { stdout: nodePort } = await shell("kubectl -n shop get svc public -o jsonpath='{.spec.ports[0].nodePort}'");
    await shell(`$WORLD_EXEC curl -s -m 1 http://172.18.0.2:${nodePort}/`);
    const dropped = new RegExp(`shop/public:${nodePort} \\(host\\) Service backend not found DROPPED`);
    await eventually("hubble observe --verdict DROPPED --drop-reason-desc SERVICE_BACKEND_NOT_FOUND --last 100", dropped);
    await eventually("cilium metrics list", /cilium_drop_count_total +reason="Service backend not found" direction="INGRESS" +[1-9]/);
    await shell("kubectl -n shop scale deploy/web --replicas=0");
    await eventually(ask, /^503 503 503 $/);
    // Refused at once, not after a time-out: curl's 7.
    await eventually("$WORLD_EXEC curl -s -m 3 http://172.18.0.2:31090/", /^$/, 7);
    await eventually("kubectl -n shop exec client -- curl -s -m 3 http://web.shop/", /^$/, 7);
  });

  it("are not hurt by objects that are wrong", async () => {
    const refused = await shell(`kubectl apply -f - <<'END'
apiVersion: v1
kind: Service
metadata: { name: wrong, namespace: shop }
spec: { type: NodePort, ports: [{ port: 80, nodePort: 31090 }] }
END`);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /spec.ports\[0\].nodePort: Invalid value: 31090: provided port is already allocated/);
    const slice = (address: string, port: number) => `kubectl apply -f - <<'END'
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: garbage, namespace: shop, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
endpoints: [{ addresses: [${address}] }]
ports: [{ name: http, port: ${port} }]
END`;
    const loopback = await shell(slice("127.0.0.1", 80));
    assert.match(loopback.stderr, /endpoints\[0\].addresses\[0\]: Invalid value: "127.0.0.1": may not be in the loopback range/);
    // What an API server takes, too, is not always of use.
    await shell(slice("239.1.1.1", 80));
    await eventually("cilium service list --problems", /shop\/web +EndpointSlice garbage: "239.1.1.1" is no IPv4 address of a backend/);
    await shell(slice("10.244.9.9", 70_000));
    await eventually("cilium service list --problems", /shop\/web +EndpointSlice garbage: port 70000\/TCP cannot be used/);
    await shell("kubectl -n shop delete endpointslice garbage && kubectl -n shop scale deploy/web --replicas=2");
    await eventually("$WORLD_EXEC curl -s -m 3 -o /dev/null -w '%{http_code}' http://172.18.0.2:31090/", /^200$/);
  });
});
