import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { it } from "node:test";
import { silentLogger } from "#runtime/logger.ts";
import { demoNames, packetEvent } from "../fixtures.ts";
import { startObserver } from "../observer/observer.ts";
import { formatSocketAddress } from "../server/address.ts";
import { startHubbleServer } from "../server/hubble.ts";
import { createPeerTable } from "../server/peers.ts";
import { runHubble } from "./main.ts";

it("hubble observe for nobody tells a person so, and nobody else", async () => {
  const observer = startObserver({ names: demoNames({ nodeName: "one" }), log: silentLogger, version: "v1" });
  observer.push(packetEvent());
  await using server = await startHubbleServer({ observer, peers: createPeerTable(), log: silentLogger }, { listen: ["127.0.0.1:0"] });
  const [address] = server.addresses;
  assert(address !== undefined);
  const hubble = async (line: string, errTerminal = true) => {
    let err = "";
    const more = { env: { HOME: "/nonexistent" }, stdin: new PassThrough(), terminal: false, version: "1", out: () => undefined };
    const argv = ["observe", ...line.split(" "), "--server", formatSocketAddress(address)];
    const write = (text: string) => {
      err += text;
    };
    assert.equal(await runHubble(argv, { ...more, errTerminal, err: write, signal: new AbortController().signal }), 0, err);
    return err;
  };
  assert.match(await hubble("--node-name tow"), /^no flow that is kept is of --node-name tow: is the name right\? hubble list nodes .*\n$/);
  assert.match(
    await hubble("--workload Deployment/ghost"),
    /^no flow that is kept is of --workload Deployment\/ghost: .*--aggregate-by.*\n$/,
  );
  assert.equal(await hubble("--node-name tow", false), "");
  assert.equal(await hubble("--node-name one"), "");
  assert.equal(await hubble("--node-name one --verdict DROPPED"), "", "the node has flows, if not these");
  assert.equal(await hubble("--not --node-name one"), "");
});
