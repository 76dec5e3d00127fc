import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { ROOT, until } from "./node.ts";
import { ECHO, fetchStatus, HTTP, lookup, OUTSIDE, Shop, type ShopPod } from "./shop.ts";
import { connectFrom } from "./traffic.ts";

/*
 * The guide that walkthrough s2 walks (the shop) tells how policies fail. Each failure is a test here, called by the guide's own words: it is brought about with
 * real traffic through kernel, agent and proxy, and then shown to be harmless, or to say itself what is wrong.
 *
 *   the guide                                                                   here
 *   "Forgetting the DNS rule ... my FQDN policy does nothing"                   DNS is dropped; lint and the denial's explanation say why
 *   "Without it Cilium forwards DNS but does not learn the answers"             answers are learned without rules.dns; lint says that Cilium would not
 *   "the application caches DNS longer than Cilium's recorded TTL"              denied, and the denial says whose address it was until when; tofqdns-min-ttl
 *   "a connection opened to an IP that has since aged out gets cut mid-flight"  it goes on, over a change of the policy too; nothing new begins
 *   "apply a default-deny ... and you cut traffic instantly"                    cuts when alone; with the allows in place no request fails while it lands
 *   "references a selector matching no identity loads silently"                 nothing is enforced, and lint says that it selects nobody
 *   "a label typo split them"                                                   the split replica is open to all; identity list shows two identities
 *   "the caller is not the workload you assumed"                                the denial says reserved:world
 */
const backend = { endpointSelector: { matchLabels: { app: "backend" } } };
const toDns = (rules: object = {}) => ({ toCIDR: [`${OUTSIDE}/32`], toPorts: [{ ports: [{ port: "53", protocol: "ANY" }], ...rules }] });
const toNames = (matchPattern: string, port: number, rules: object = {}) => ({
  toFQDNs: [{ matchPattern }],
  toPorts: [{ ports: [{ port: String(port), protocol: "TCP" }], ...rules }],
});
const fromFrontend = {
  ...backend,
  ingress: [{ fromEndpoints: [{ matchLabels: { app: "frontend" } }], toPorts: [{ ports: [{ port: String(HTTP), protocol: "TCP" }] }] }],
};

/** What `cilium policy lint` says about a policy, and where it takes the pods from. */
function lint(spec: object, pods: readonly object[] = []): Promise<string> {
  const metadata = { name: "shop", namespace: "default" };
  const objects = [{ apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata, spec }, ...pods];
  return new Promise((resolve) => {
    const args = ["policy", "lint", "-", ...(pods.length > 0 ? ["--pods", "-"] : [])];
    const child = execFile(join(ROOT, "bin/cilium"), args, (_error, stdout) => resolve(stdout));
    child.stdin?.end(JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }));
  });
}

describe("the guide's failures", { skip: process.getuid?.() === 0 ? false : "root is needed" }, () => {
  let shop: Shop;
  let pods: { readonly backend: ShopPod; readonly frontend: ShopPod; readonly typo: ShopPod };
  const [STRIPE, CDN] = ["api.stripe.com", "img.cdn.example"];

  before(async () => {
    shop = await Shop.open();
    const [one, frontend, typo] = [
      await shop.addPod("backend"),
      await shop.addPod("frontend"),
      await shop.addPod("backend-typo", "backedn"),
    ];
    pods = { backend: one, frontend, typo };
    await shop.serve(one.netns);
    await shop.serve(typo.netns);
    shop.names.set(STRIPE, { ip: "198.51.100.1", ttl: 300 });
  });
  after(() => shop?.[Symbol.asyncDispose]());

  /** A policy for the time of a test, in force. */
  const inForce = async (name: string, spec: object, isSeen: () => Promise<boolean>) => {
    shop.apply(name, spec);
    await until(`${name} is in force`, isSeen);
    return {
      async [Symbol.asyncDispose]() {
        shop.remove(name);
        await until(`${name} is gone`, async () => !(await isSeen()));
      },
    };
  };
  const isClosed = async () => (await fetchStatus(pods.backend, "198.51.100.4", "/")) === 0;
  const reaches = (ip: string, path = "/") => fetchStatus(pods.backend, ip, path);
  const denialSays = (pattern: RegExp) => until(`a denial says ${pattern}`, async () => pattern.test(await shop.denials()));

  it("my FQDN policy does nothing: forgetting the DNS rule", async () => {
    const spec = { ...backend, egress: [toNames("*.stripe.com", HTTP)] };
    assert.equal(await lookup(pods.backend, STRIPE), "198.51.100.1");
    await using _ = await inForce("no-dns", spec, isClosed);
    assert.equal(await lookup(pods.backend, STRIPE), "");
    assert.equal(await reaches("198.51.100.1"), 0);
    await denialSays(/Policy: default\/no-dns/);
    assert.match(await lint(spec), /L02 .*no rule lets the pods ask DNS/);
  });

  it("without rules.dns Cilium forwards DNS but does not learn the answers", async () => {
    const spec = { ...backend, egress: [toDns(), toNames("*.stripe.com", HTTP)] };
    await using _ = await inForce("plain-dns", spec, isClosed);
    assert.equal(await reaches("198.51.100.1"), 0);
    await until("the name resolves", async () => (await lookup(pods.backend, STRIPE)) === "198.51.100.1");
    await until("its address is open", async () => (await reaches("198.51.100.1")) === 200);
    assert.match(await shop.cilium("fqdn", "cache", "list"), /api\.stripe\.com/);
    assert.match(await lint(spec), /L02 /);
    await shop.cilium("fqdn", "cache", "clean", "-f");
  });

  it("rules of HTTP for names: the proxy knows addresses by the names that the pod has learned", async () => {
    const http = { rules: { http: [{ method: "GET", path: "/public" }] } };
    const spec = { ...backend, egress: [toDns({ rules: { dns: [{ matchPattern: "*" }] } }), toNames("*.stripe.com", HTTP, http)] };
    await using _ = await inForce("http-by-name", spec, isClosed);
    await until("the name resolves", async () => (await lookup(pods.backend, STRIPE)) === "198.51.100.1");
    await until("what the rule allows passes", async () => (await reaches("198.51.100.1", "/public")) === 200);
    assert.equal(await reaches("198.51.100.1", "/secret"), 403);
    assert.equal(await reaches("198.51.100.2", "/public"), 0, "another address of the same outside");
    await denialSays(/api\.stripe\.com[\s\S]*http rule 0: path/);
    await shop.cilium("fqdn", "cache", "clean", "-f");
  });

  it("a connection opened to an IP that has since aged out gets cut mid-flight: CDN rotation", async () => {
    const spec = { ...backend, egress: [toDns({ rules: { dns: [{ matchPattern: "*" }] } }), toNames("*.cdn.example", ECHO)] };
    await using _ = await inForce("cdn", spec, isClosed);
    shop.names.set(CDN, { ip: "198.51.100.2", ttl: 1 });
    await until("the name resolves", async () => (await lookup(pods.backend, CDN)) === "198.51.100.2");
    using opened = await connectFrom(pods.backend.netns, "198.51.100.2", ECHO, 10_000);
    assert.ok(opened);
    for (const [ip, ttl] of [
      ["198.51.100.3", 1],
      ["198.51.100.1", 300],
    ] as const) {
      shop.names.set(CDN, { ip, ttl });
      await until("it rotates", async () => (await lookup(pods.backend, CDN)) === ip);
    }
    const listed = () => shop.cilium("fqdn", "cache", "list", "--source", "lookup");
    await until("the old addresses have aged out", async () => !/198\.51\.100\.[23]/.test(await listed()));
    assert.ok(await opened.echo("still there", 10_000));
    // The application that caches DNS: an old address begins nothing any more, unless it is in use.
    assert.deepEqual(await Promise.all(["198.51.100.1", "198.51.100.2", "198.51.100.3"].map(canConnect)), [true, true, false]);
    await using __ = await inForce("more", fromFrontend, async () => (await fetchStatus(pods.typo, pods.backend.ip, "/")) === 0);
    assert.ok(await opened.echo("after a change of the policy", 10_000));
    await denialSays(/198\.51\.100\.3 was img\.cdn\.example for this pod until [\dT:.-]+Z: nothing begins/);
  });
  const canConnect = async (ip: string) => {
    using connection = await connectFrom(pods.backend.netns, ip, ECHO, 2000);
    return connection !== undefined;
  };

  it("apply a default-deny and you cut traffic instantly: last, not first", async () => {
    const deny = { endpointSelector: {}, ingress: [], egress: [] };
    const ask = () => fetchStatus(pods.frontend, pods.backend.ip, "/");
    await until("the frontend is served", async () => (await ask()) === 200);
    {
      await using _ = await inForce("default-deny", deny, async () => (await ask()) === 0);
    }
    shop.apply("backend", fromFrontend);
    shop.apply("frontend", {
      endpointSelector: { matchLabels: { app: "frontend" } },
      egress: [{ toEndpoints: [{ matchLabels: { app: "backend" } }] }],
    });
    await until(
      "the allows are in force",
      async () => (await fetchStatus(pods.typo, pods.backend.ip, "/")) === 0 && (await fetchStatus(pods.frontend, pods.typo.ip, "/")) === 0,
    );
    const answers: number[] = [];
    shop.apply("default-deny", deny);
    await until("the default deny is in force", async () => {
      answers.push(await ask());
      return (await fetchStatus(pods.typo, "198.51.100.1", "/")) === 0;
    });
    answers.push(await ask());
    assert.deepEqual([...new Set(answers)], [200], "requests while it landed");
    for (const name of ["backend", "frontend", "default-deny"]) shop.remove(name);
    await until("all is open", async () => (await fetchStatus(pods.typo, pods.backend.ip, "/")) === 200);
  });

  it("references a selector matching no identity loads silently and does nothing", async () => {
    const spec = { ...fromFrontend, endpointSelector: { matchLabels: { app: "bakcend" } } };
    const revision = async () => Number(/Revision: (\d+)/.exec(await shop.cilium("policy", "get"))?.[1]);
    const before = await revision();
    shop.apply("misspelt", spec);
    await until("the revision grows", async () => (await revision()) > before);
    assert.equal(await fetchStatus(pods.typo, pods.backend.ip, "/"), 200);
    const labels = { app: "backend", "io.kubernetes.pod.namespace": "default" };
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "backend", namespace: "default", labels }, spec: { containers: [] } };
    assert.match(await lint(spec, [pod]), /L05 /);
    shop.remove("misspelt");
  });

  it("a label typo split them: a replica with an identity of its own", async () => {
    await using _ = await inForce("backend", fromFrontend, async () => (await fetchStatus(pods.typo, pods.backend.ip, "/")) === 0);
    assert.equal(await fetchStatus(pods.backend, pods.typo.ip, "/"), 200, "no policy selects it");
    const list = await shop.cilium("identity", "list");
    const identities = ["backend", "backedn"].map((app) => new RegExp(`(\\d+) +k8s:app=${app}\\b`).exec(list)?.[1]);
    assert.ok(identities.every((one) => one !== undefined) && identities[0] !== identities[1], list);
  });

  it("the caller is not the workload you assumed: from outside the cluster, with the world identity", async () => {
    await using _ = await inForce("backend", fromFrontend, async () => (await fetchStatus(pods.typo, pods.backend.ip, "/")) === 0);
    const outside = { ...pods.frontend, netns: shop.node.world };
    assert.equal(await fetchStatus(outside, pods.backend.ip, "/"), 0);
    await denialSays(/172\.31\.9\.1:\d+ \(world\) <> default\/backend:8080/);
  });
});

describe("the application caches DNS longer than the recorded TTL", { skip: process.getuid?.() === 0 ? false : "root is needed" }, () => {
  it("tofqdns-min-ttl pins it: the address stays open after its TTL", async () => {
    await using shop = await Shop.open(["--tofqdns-min-ttl=3600"]);
    const pod = await shop.addPod("backend");
    shop.names.set("api.stripe.com", { ip: "198.51.100.1", ttl: 0 });
    shop.apply("stripe", { ...backend, egress: [toDns({ rules: { dns: [{ matchPattern: "*" }] } }), toNames("*.stripe.com", HTTP)] });
    await until("the policy is in force", async () => (await fetchStatus(pod, "198.51.100.2", "/")) === 0);
    await until("the name resolves", async () => (await lookup(pod, "api.stripe.com")) === "198.51.100.1");
    const [entry] = JSON.parse(await shop.cilium("fqdn", "cache", "list", "-o", "json")) as { "expiration-time": string; ttl: number }[];
    assert.equal(entry?.ttl, 0);
    assert.ok(Date.parse(entry["expiration-time"]) > Date.now() + 3000_000);
    assert.equal(await fetchStatus(pod, "198.51.100.1", "/"), 200);
  });
});
