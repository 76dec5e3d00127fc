import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";
import { toJsonString } from "@bufbuild/protobuf";
import { type Flow, FlowSchema } from "#api/gen/flow/flow_pb.ts";
import { DEMO_TIME, demoNames, packetEvent, tcpPacket } from "../fixtures.ts";
import { flowOfPacket } from "../parser/packet.ts";
import { createPolicyBook } from "../parser/policies.ts";
import { runHubble } from "./main.ts";

const names = demoNames();
const SECOND = 1_000_000_000n;

function flow(second: number, changes: Parameters<typeof packetEvent>[0] = {}): Flow {
  return flowOfPacket(packetEvent({ time: DEMO_TIME + BigInt(second) * SECOND, ...changes }), names, createPolicyBook(names));
}

/** Two forwards, one of them a reply, and a drop between the same two workloads. */
const FLOWS = [flow(0), flow(1, { packet: tcpPacket({ reply: true }), isReply: true }), flow(2, { type: "drop", subtype: 133 })];

async function hubble(line: string, flows: readonly Flow[] = FLOWS): Promise<{ code: number; out: string; err: string }> {
  const text = { out: "", err: "" };
  const stdin = new PassThrough();
  stdin.end(flows.map((one) => `${toJsonString(FlowSchema, { ...one, extensions: undefined }, { useProtoFieldName: true })}\n`).join(""));
  const code = await runHubble([...line.split(" "), "--input-file", "-"], {
    env: { HOME: "/nonexistent" },
    out(part) {
      text.out += part;
    },
    err(part) {
      text.err += part;
    },
    stdin,
    terminal: false,
    errTerminal: false,
    signal: new AbortController().signal,
    version: "1.2.3",
  });
  return { code, ...text };
}

describe("counting flows", () => {
  it("by workload and port, replies with what they answer", async () => {
    const { out } = await hubble("observe --aggregate-by source,destination,port,verdict");
    assert.equal(
      out,
      [
        "SOURCE               DESTINATION         PORT     VERDICT     FLOWS   DROPPED   LAST SEEN",
        "default/tiefighter   default/deathstar   80/TCP   FORWARDED   2       0         13:25:43",
        "default/tiefighter   default/deathstar   80/TCP   DROPPED     1       1         13:25:44",
        "",
      ].join("\n"),
    );
  });

  it("as JSON, one object a line", async () => {
    const { out } = await hubble("observe --aggregate-by drop-reason,source-pod -o json");
    const [first, second] = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual([first.drop_reason, first.flows, first.dropped], ["", 2, 0]);
    assert.deepEqual([second.drop_reason, second.flows, second.dropped], ["POLICY_DENIED", 1, 1]);
    assert.equal(second.first_seen, "2026-06-14T13:25:44.102Z");
  });

  it("refuses a key that does not exist and says which do", async () => {
    const { code, err } = await hubble("observe --aggregate-by sauce");
    assert.equal(code, 1);
    assert.match(err, /flows cannot be counted by "sauce"; they can by source, destination/);
  });

  it("top shows as many rows as asked for, and what it leaves out", async () => {
    const { out } = await hubble("top --rows 1");
    assert.match(out, /^3 flows in \d+ s \([\d.]+ a second\), 1 dropped\n\nSOURCE/);
    assert.match(out, /FORWARDED +2 +0 .*\n1 more rows/);
  });

  it("filters before it counts", async () => {
    const { out } = await hubble("top --by verdict --verdict DROPPED");
    assert.match(out, /^1 flows .*1 dropped\n\nVERDICT +FLOWS .*\nDROPPED +1 +1 /);
  });

  it("matrix tells who talked to whom, as table, JSON and CSV", async () => {
    const table = await hubble("matrix");
    assert.match(
      table.out,
      /^SOURCE +DESTINATION +PORT +FLOWS +DROPPED +VERDICT\n\S+tiefighter +\S+deathstar +80\/TCP +3 +1 +partly denied\n$/,
    );
    const [edge, ...more] = JSON.parse((await hubble("matrix -o json")).out);
    assert.equal(more.length, 0);
    assert.deepEqual({ port: edge.port, flows: edge.flows, dropped: edge.dropped }, { port: "80/TCP", flows: 3, dropped: 1 });
    assert.match((await hubble("matrix -o csv")).out, /^source,destination,port,flows,dropped\n.*,80\/TCP,3,1\n$/);
  });

  it("history asks for the last day, or for what is said", async () => {
    const now = flow(0, { time: BigInt(Date.now()) * 1_000_000n });
    assert.equal((await hubble("history", [FLOWS[0] as Flow, now])).out.trim().split("\n").length, 1);
    assert.equal((await hubble("history --since 2026-01-01", [FLOWS[0] as Flow, now])).out.trim().split("\n").length, 2);
  });
});
