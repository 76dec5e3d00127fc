import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, it } from "node:test";
import { findImage } from "../images/images.ts";
import type { NodeHost } from "../node-host.ts";
import type { Pod } from "../objects.ts";
import { openContainerLog } from "./container-log.ts";
import { fieldOf } from "./downward.ts";
import { expandVariables } from "./environment.ts";
import { resolvConf } from "./resolv-conf.ts";

describe("variables in commands", () => {
  const cases: readonly (readonly [text: string, expected: string])[] = [
    ["$(NAME)", "web"],
    ["a-$(NAME)-b", "a-web-b"],
    ["$$(NAME)", "$(NAME)"],
    ["$(UNKNOWN)", "$(UNKNOWN)"],
    ["$NAME and $HOME", "$NAME and $HOME"],
  ];
  for (const [written, expected] of cases) {
    it(`${written} → ${expected}`, () => assert.equal(expandVariables(written, { NAME: "web" }), expected));
  }
});

describe("the downward API", () => {
  const pod = {
    metadata: { name: "p", namespace: "n", uid: "u", labels: { app: "x", "a/b": "c" }, annotations: {} },
    spec: { nodeName: "cilia-worker" },
    status: { podIP: "10.244.1.2", podIPs: [{ ip: "10.244.1.2" }, { ip: "fd00::2" }] },
  } as unknown as Pod;
  it("reads fields, subscripts and lists", () => {
    assert.equal(fieldOf(pod, "metadata.name"), "p");
    assert.equal(fieldOf(pod, "metadata.labels['a/b']"), "c");
    assert.equal(fieldOf(pod, "spec.nodeName"), "cilia-worker");
    assert.equal(fieldOf(pod, "status.podIPs"), "10.244.1.2,fd00::2");
    assert.equal(fieldOf(pod, "metadata.labels"), 'app="x"\na/b="c"');
    assert.equal(fieldOf(pod, "status.hostIP"), "");
  });
});

describe("resolv.conf", () => {
  const resolver = (dnsConfig: Pod["spec"]["dnsConfig"]) =>
    resolvConf({} as NodeHost, { metadata: { namespace: "shop" }, spec: { ...(dnsConfig ? { dnsConfig } : {}) } } as Pod);
  it("is the cluster's", () => {
    assert.equal(
      resolver(undefined),
      "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
    );
  });
  it("takes from the pod what is more, and its own value of an option", () => {
    const options = [{ name: "ndots", value: "2" }, { name: "edns0" }];
    const text = resolver({ nameservers: ["192.0.2.1"], searches: ["example.com"], options });
    assert.match(text, / cluster\.local example\.com\nnameserver 10\.96\.0\.10\nnameserver 192\.0\.2\.1\noptions ndots:2 edns0\n$/);
  });
});

describe("image names", () => {
  it("takes registry, library, tag and digest away", () => {
    const nginx = findImage("nginx");
    assert.ok(nginx);
    for (const name of ["nginx:1.27-alpine", "docker.io/library/nginx:1", "docker.io/nginx", "localhost:5000/nginx@sha256:00"]) {
      assert.equal(findImage(name), nginx, name);
    }
    assert.equal(findImage("example.com/nobody/nothing:1"), undefined);
    assert.ok(findImage("ghcr.io/nicolaka/netshoot"));
  });

  it("tells a server which ports its container declares", () => {
    const environment = findImage("nginx")?.environmentFor;
    assert.equal(
      environment?.({
        name: "x",
        ports: [{ containerPort: 3000 }, { containerPort: 53, protocol: "UDP" }, { name: "again", containerPort: 3000 }],
      }).CILIA_PORTS,
      "3000",
    );
    assert.equal(environment?.({ name: "x" }).CILIA_PORTS, "80");
  });
});

describe("container logs", () => {
  it("keeps lines whole, filters and follows", async () => {
    const directory = mkdtempSync(join(tmpdir(), "cilia-log-"));
    try {
      const log = openContainerLog(join(directory, "c/0.log"));
      log.append("stdout", Buffer.from("one\ntw"));
      const following = text(log.read({ follow: true }));
      log.append("stdout", Buffer.from("o\n"));
      log.append("stderr", Buffer.from("three"));
      log.end();
      assert.equal(await following, "one\ntwo\nthree");
      assert.equal(await text(log.read({ tailLines: 1 })), "three");
      assert.equal(await text(log.read({ tailLines: 0 })), "");
      assert.equal(await text(log.read({ limitBytes: 5 })), "one\nt");
      assert.match(await text(log.read({ timestamps: true, tailLines: 2 })), /^\d{4}-\S+Z two\n\d{4}-\S+Z three$/);
      assert.match(readFileSync(log.path, "utf8"), /^\S+ stdout F one$/m);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
