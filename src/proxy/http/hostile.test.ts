import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { echoServer } from "../testing/echo-server.ts";
import { get, HOSTILE } from "../testing/hostile.ts";
import { collect, policyOf, startLoopback } from "../testing/loopback.ts";

const EVERYTHING = policyOf([{ identities: null, http: null, origins: [] }]);

/** The status that a client gets; 400 unless the text is too long or speaks another version. */
function statusOf(name: string): number {
  if (/head too long|head without an end|too many headers/.test(name)) return 431;
  return /HTTP\/1\.2|HTTP\/2\.0/.test(name) ? 505 : 400;
}

describe("hostile requests through the proxy, where everything is allowed", () => {
  for (const [name, text] of HOSTILE) {
    // That one is HTTP/2 from its first byte.
    if (name === "HTTP/2 with prior knowledge") continue;
    it(`answers ${statusOf(name)} to ${name}, closes, and lets nothing through`, async () => {
      const seen: string[] = [];
      await using proxy = await startLoopback({ policy: EVERYTHING, serve: echoServer(seen) });
      const attacker = await proxy.open();
      const answer = collect(attacker);
      // What follows would be the smuggled one.
      attacker.end(text + get("/smuggled"), "latin1");
      assert.match(await answer.ended, new RegExp(`^HTTP/1\\.1 ${statusOf(name)} `));
      assert.equal(answer.text.match(/HTTP\/1\.1 \d/g)?.length, 1);
      assert.equal(seen.join(""), "");
    });
  }

  it("gives slow clients their 408 while neighbours are served", async () => {
    await using proxy = await startLoopback({ policy: EVERYTHING, serve: echoServer([]), timeouts: { head: 150 }, maxConnections: 300 });
    const slow = await Promise.all(Array.from({ length: 60 }, () => proxy.open()));
    const drips: NodeJS.Timeout[] = [];
    const answers = slow.map((socket) => {
      socket.write("GET / HTTP/1.1\r\nHost: a\r\n");
      // A byte now and then does not buy time.
      drips.push(setInterval(() => socket.writable && socket.write("X"), 20));
      return collect(socket).ended;
    });
    const neighbour = await proxy.open();
    neighbour.write(get("/", "Host: a\r\nConnection: close\r\n"));
    assert.match(await collect(neighbour).ended, /^HTTP\/1\.1 200 /);
    for (const answer of await Promise.all(answers)) assert.match(answer, /^HTTP\/1\.1 408 /);
    for (const drip of drips) clearInterval(drip);
  });

  it("holds no more than one head of a client that never ends it", async () => {
    await using proxy = await startLoopback({ policy: EVERYTHING, serve: echoServer([]) });
    const socket: Socket = await proxy.open();
    const answer = collect(socket);
    socket.write(`GET /${"a".repeat(1_000_000)}`);
    assert.match(await answer.ended, /^HTTP\/1\.1 431 /);
  });
});
