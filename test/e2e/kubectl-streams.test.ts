import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { KUBECTLS, type KubectlCluster, startKubectlCluster, untilText } from "./api-server.ts";

const TRANSPORTS = [
  ["WebSocket", "true"],
  ["SPDY", "false"],
] as const;

for (const kubectl of KUBECTLS) {
  for (const [transport, webSockets] of TRANSPORTS) {
    describe(`streams by ${kubectl} over ${transport}`, () => {
      let cluster: KubectlCluster;
      before(async () => {
        cluster = await startKubectlCluster(kubectl);
        Object.assign(cluster.env, { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: webSockets, KUBECTL_PORT_FORWARD_WEBSOCKETS: webSockets });
        const { client } = cluster.api;
        client.create("pods", {
          metadata: { name: "p", namespace: "default" },
          spec: { nodeName: "n", containers: [{ name: "main", image: "x" }] },
        });
        client.patch("pods", "p", "default", { status: { phase: "Running" } }, { subresource: "status" });
      });
      after(() => cluster[Symbol.asyncDispose]());

      it("exec passes both outputs and the exit code", async () => {
        const { code, stdout, stderr } = await cluster.kubectl(["exec", "p", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
        assert.deepEqual([code, stdout], [7, "out\n"]);
        assert.equal(stderr, "err\ncommand terminated with exit code 7\n");
      });
      it("exec passes input to its end, and much of it", async () => {
        const input = "0123456789".repeat(200_000);
        const { stdout } = await cluster.kubectl(["exec", "-i", "p", "--", "wc", "-c"], input);
        assert.equal(stdout.trim(), String(input.length));
      });
      it("exec passes much output", async () => {
        const { stdout } = await cluster.kubectl(["exec", "p", "--", "head", "-c", "2000000", "/dev/zero"]);
        assert.equal(stdout.length, 2_000_000);
      });
      it("exec of what does not exist fails", async () => {
        const { code, stderr } = await cluster.kubectl(["exec", "p", "--", "no-such-program"]);
        assert.notEqual(code, 0);
        assert.match(stderr, /exit code 127|ENOENT/);
        assert.match(
          (await cluster.kubectl(["exec", "p", "-c", "other", "--", "true"])).stderr,
          /container other (is not valid|not found)/,
        );
      });
      it("attach joins the main process", async () => {
        const { stdout } = await cluster.kubectl(["attach", "-i", "p"], "hello\n");
        assert.equal(stdout, "hello\n");
      });
      it("logs come whole, in part, or say why not", async () => {
        assert.equal((await cluster.kubectl(["logs", "p"])).stdout, "one\ntwo\nthree\n");
        assert.equal((await cluster.kubectl(["logs", "-f", "--tail=1", "p"])).stdout, "three\n");
        assert.match((await cluster.kubectl(["logs", "-p", "p"])).stderr, /previous terminated container "main" not found/);
      });
      it("port-forward carries connections, and many at once", async () => {
        const server = createServer((request, response) => response.end(`you asked for ${request.url}`.padEnd(100_000, ".")));
        server.listen(0, "127.0.0.1");
        await once(server, "listening");
        const forward = cluster.start(["port-forward", "pod/p", `:${(server.address() as AddressInfo).port}`]);
        const [, port] = /127.0.0.1:(\d+) ->/.exec(await untilText(forward.stdout, /127.0.0.1:\d+ ->/)) ?? [];
        const answers = await Promise.all(
          [1, 2, 3, 4].map(async (n) => (await fetch(`http://127.0.0.1:${port}/${n}`, { headers: { connection: "close" } })).text()),
        );
        assert.deepEqual(
          answers,
          [1, 2, 3, 4].map((n) => `you asked for /${n}`.padEnd(100_000, ".")),
        );
        forward.kill();
        server.close();
        server.closeAllConnections();
      });
    });
  }
}
