import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { GetFlowsResponseSchema } from "#api/gen/observer/observer_pb.ts";
import { l7Event } from "#monitor/access.ts";
import { formatNanoseconds } from "#types/duration.ts";
import { DEMO_TIME, demoNames, packetEvent, tcpPacket } from "../fixtures.ts";
import { flowOfAccess } from "../parser/l7.ts";
import { timestampOf } from "../parser/messages.ts";
import { flowOfPacket } from "../parser/packet.ts";
import { createPolicyBook } from "../parser/policies.ts";
import { terminalColor } from "./color.ts";
import { escapeTerminal } from "./escape.ts";
import { createPrinter, type PrinterOptions } from "./printer.ts";
import { alignRows } from "./tabular.ts";
import { formatTime, timeFormats } from "./time.ts";

const names = demoNames();
const book = createPolicyBook(names);
type Changes = Parameters<typeof packetEvent>[0];

function response(changes: Changes) {
  const flow = { ...flowOfPacket(packetEvent(changes), names, book), uuid: "u" };
  return {
    $typeName: "observer.GetFlowsResponse",
    responseTypes: { case: "flow", value: flow },
    nodeName: "kind-worker",
    time: flow.time,
  } as const;
}

const allowed = response({ type: "policy-verdict", matchType: 2, cookie: 7 });
const forwarded = response({});
const answer = response({
  packet: tcpPacket({ reply: true, flags: 18 }),
  isReply: true,
  ctReason: 2,
  direction: "egress",
  sourceIdentity: 16530,
  destinationIdentity: 4208,
});
const denied = response({ type: "policy-verdict", verdict: -133 });
const dropped = response({ type: "drop", subtype: 133 });
const world = response({ sourceIdentity: 2 });

function print(
  responses: readonly Parameters<ReturnType<typeof createPrinter>["print"]>[0][],
  options: Partial<PrinterOptions>,
): { out: string; err: string } {
  const text = { out: "", err: "" };
  const printer = createPrinter({
    format: "compact",
    ...options,
    out: (part) => {
      text.out += part;
    },
    err: (part) => {
      text.err += part;
    },
  });
  for (const item of responses) printer.print(item);
  printer.end();
  return text;
}

const T = "Jun 14 13:25:42.102";
const TIE = "default/tiefighter:37954 (ID:4208)";
const STAR = "default/deathstar-6f87496b94-9ltxh:80 (ID:16530)";

describe("compact", () => {
  const golden = [
    ["an allowed verdict", allowed, `${T}: ${TIE} -> ${STAR} policy-verdict:L3-L4 INGRESS ALLOWED (TCP Flags: SYN)`],
    ["a trace", forwarded, `${T}: ${TIE} -> ${STAR} to-endpoint FORWARDED (TCP Flags: SYN)`],
    ["an answer, the client on the left", answer, `${T}: ${TIE} <- ${STAR} to-endpoint FORWARDED (TCP Flags: SYN, ACK)`],
    ["a denied verdict", denied, `${T}: ${TIE} <> ${STAR} policy-verdict:none INGRESS DENIED (TCP Flags: SYN)`],
    ["a drop", dropped, `${T}: ${TIE} <> ${STAR} Policy denied DROPPED (TCP Flags: SYN)`],
    ["a reserved identity", world, `${T}: default/tiefighter:37954 (world) -> ${STAR} to-endpoint FORWARDED (TCP Flags: SYN)`],
  ] as const;
  for (const [name, item, line] of golden) it(`prints ${name}`, () => assert.equal(print([item], {}).out, `${line}\n`));

  it("prints the node and the policies when asked", () => {
    const line = `${T} [kind-worker]: ${TIE} <> ${STAR} policy-verdict:none INGRESS DENIED BY rule1 (CiliumNetworkPolicy) (TCP Flags: SYN)\n`;
    assert.equal(print([denied], { nodeName: true, policyNames: true }).out, line);
  });

  it("names the policies of the end that decided, and only with verdicts of policies", () => {
    const policies = (names: string[]) => names.map((name) => ({ name, kind: "CiliumNetworkPolicy" }));
    const line = (more: JsonObject) => {
      const common = {
        verdict: "FORWARDED",
        event_type: { type: 5 },
        egress_allowed_by: policies(["e"]),
        ingress_allowed_by: policies(["i", "j"]),
      };
      return print([special({ flow: { ...common, ...more } })], { policyNames: true }).out;
    };
    assert.match(line({ traffic_direction: "EGRESS" }), /EGRESS ALLOWED BY e \(CiliumNetworkPolicy\) \(\)\n$/);
    assert.match(line({ traffic_direction: "INGRESS" }), / BY i \(CiliumNetworkPolicy\), j \(CiliumNetworkPolicy\) \(\)\n$/);
    assert.match(line({}), /ALLOWED \(\)\n$/);
    assert.match(line({ traffic_direction: "EGRESS", event_type: { type: 4 } }), /FORWARDED \(\)\n$/);
  });

  it("prints addresses when numeric", () => {
    assert.equal(
      print([forwarded], { numeric: true }).out,
      `${T}: 10.0.2.7:37954 (ID:4208) -> 10.0.4.9:80 (ID:16530) to-endpoint FORWARDED (TCP Flags: SYN)\n`,
    );
  });

  it("explains a denial on lines of its own", () => {
    const lines = print([denied], { explain: true }).out.split("\n").slice(1);
    assert.deepEqual(lines, [
      "  Policy: default/rule1 (ingress) rule 0",
      "    no rule allows identity 4208 (tiefighter) on TCP 80",
      "    nearest: default/rule1 (ingress) rule 0: wants org=rebels",
      "    fix: add tiefighter's labels to rule1",
      "",
    ]);
    assert.equal(print([forwarded], { explain: true }).out.split("\n").length, 2);
  });

  it("names at least the policies of a server that explains nothing", () => {
    const flow = { ...denied.responseTypes.value, extensions: undefined };
    const plain = { ...denied, responseTypes: { case: "flow", value: flow } } as const;
    assert.match(print([plain], { explain: true }).out, /\n {2}Policy: default\/rule1 \(ingress\)\n$/);
  });

  it("prints an HTTP request and its answer", () => {
    const peers = { source: { ip: "10.0.2.7", port: 43000, identity: 4208 }, destination: { ip: "10.0.4.9", port: 80, identity: 16530 } };
    const http = { method: "PUT", url: "http://deathstar/v1/exhaust-port", protocol: "HTTP/1.1", code: 0, headers: [] } as const;
    const common = {
      type: "access",
      time: 1781443542102,
      direction: "ingress",
      endpointId: 1423,
      ...peers,
      latencyNs: 4e6,
      policyRevision: 1,
    } as const;
    const l7 = (more: Pick<Parameters<typeof l7Event>[0], "kind" | "verdict">, code: number) => {
      const flow = flowOfAccess(l7Event({ ...common, ...more, http: { ...http, code } }), names);
      return { ...forwarded, responseTypes: { case: "flow", value: flow } } as const;
    };
    const client = "default/tiefighter:43000 (ID:4208)";
    assert.equal(
      print([l7({ kind: "request", verdict: "DROPPED" }, 403), l7({ kind: "response", verdict: "FORWARDED" }, 200)], {}).out,
      `${T}: ${client} -> ${STAR} http-request DROPPED (HTTP/1.1 PUT http://deathstar/v1/exhaust-port)\n` +
        `${T}: ${client} <- ${STAR} http-response FORWARDED (HTTP/1.1 200 4ms (PUT http://deathstar/v1/exhaust-port))\n`,
    );
  });

  it("colours hosts, ports, identities and verdicts", () => {
    const line = print([dropped], { color: terminalColor }).out;
    assert(line.includes("\u001b[36mdefault/tiefighter:\u001b[33m37954\u001b[0m\u001b[0m \u001b[35m(ID:4208)\u001b[0m"));
    assert(line.includes("\u001b[31mDROPPED\u001b[0m"));
  });
});

describe("dict", () => {
  it("prints a block for each flow and a line between them", () => {
    const block = (type: string, verdict: string) =>
      `  TIMESTAMP: ${T}\n     SOURCE: default/tiefighter:37954\nDESTINATION: default/deathstar-6f87496b94-9ltxh:80\n` +
      `       TYPE: ${type}\n    VERDICT: ${verdict}\n    SUMMARY: TCP Flags: SYN\n`;
    assert.equal(
      print([forwarded, dropped], { format: "dict" }).out,
      `${block("to-endpoint", "FORWARDED")}------------\n${block("Policy denied", "DROPPED")}`,
    );
  });
  it("prints the node when asked", () =>
    assert.match(print([forwarded], { format: "dict", nodeName: true }).out, /^ {7}NODE: kind-worker$/m));
});

describe("table", () => {
  it("aligns columns", () => {
    assert.equal(
      print([forwarded, denied], { format: "table", color: terminalColor }).out,
      [
        "TIMESTAMP             SOURCE                     DESTINATION                             TYPE                          VERDICT     SUMMARY",
        `${T}   default/tiefighter:37954   default/deathstar-6f87496b94-9ltxh:80   to-endpoint                   FORWARDED   TCP Flags: SYN`,
        `${T}   default/tiefighter:37954   default/deathstar-6f87496b94-9ltxh:80   policy-verdict:none INGRESS   DENIED      TCP Flags: SYN`,
        "",
      ].join("\n"),
    );
  });
  it("prints nothing for no flows", () => assert.equal(print([], { format: "table" }).out, ""));
});

describe("json", () => {
  it("prints a response a line, with proto names, enums by name and 64-bit numbers as strings", () => {
    const { out } = print([denied], { format: "jsonpb" });
    const json = JSON.parse(out) as { flow: JsonObject; node_name: string; time: string };
    assert.deepEqual(Object.keys(json), ["flow", "node_name", "time"]);
    assert.equal(json.time, "2026-06-14T13:25:42.102Z");
    assert.equal(json.flow.verdict, "DROPPED");
    assert.deepEqual(json.flow.event_type, { type: 5 });
    assert.deepEqual(json.flow.ingress_denied_by, [
      { name: "rule1", namespace: "default", labels: ["k8s:io.cilium.k8s.policy.name=rule1"], revision: "4", kind: "CiliumNetworkPolicy" },
    ]);
    assert.equal((json.flow.extensions as JsonObject)["@type"], "type.googleapis.com/cilia.Explanation");
    assert.equal(out.split("\n").length, 2);
  });
  it("prints fields in the order of the .proto file, without spaces", () => {
    const small = special({
      flow: {
        time: "2026-06-14T13:25:42.102Z",
        uuid: "u",
        verdict: "FORWARDED",
        IP: { source: "10.0.0.1", ipVersion: "IPv4" },
        is_reply: false,
      },
      node_name: "w",
      time: "2026-06-14T13:25:42.102Z",
    });
    const golden =
      '{"flow":{"time":"2026-06-14T13:25:42.102Z","uuid":"u","verdict":"FORWARDED","IP":{"source":"10.0.0.1","ipVersion":"IPv4"},"is_reply":false},' +
      '"node_name":"w","time":"2026-06-14T13:25:42.102Z"}\n';
    for (const format of ["json", "jsonpb"] as const) assert.equal(print([small], { format }).out, golden, format);
  });
  it("prints the flow alone in the form before 0.11", () =>
    assert.match(print([forwarded], { format: "json", legacyJson: true }).out, /^\{"time":/));
});

function special(json: JsonValue) {
  return fromJson(GetFlowsResponseSchema, json);
}

describe("what is not a flow", () => {
  const time = "2026-06-14T13:26:03Z";
  const lost = special({
    lost_events: { source: "HUBBLE_RING_BUFFER", num_events_lost: "1", cpu: 0, first: time, last: time },
    time,
    node_name: "w",
  });
  it("prints losses", () => {
    const text = "Jun 14 13:26:03.000 EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 1 (first: Jun 14 13:26:03.000, last: Jun 14 13:26:03.000)\n";
    assert.equal(print([lost], {}).out, text);
    assert.match(print([lost], { format: "json" }).out, /"lost_events":\{"source":"HUBBLE_RING_BUFFER","num_events_lost":"1"/);
  });

  const status = (state: string, nodes: string[]) =>
    special({ node_status: { state_change: state, node_names: nodes }, time, node_name: "relay" });
  it("tells of nodes on standard error, good news only when debugging", () => {
    const gone = status("NODE_UNAVAILABLE", ["worker2"]);
    assert.deepEqual(print([gone], {}), { out: "", err: "Jun 14 13:26:03.000 [relay]: 1 nodes are unavailable: worker2\n" });
    const good = status("NODE_CONNECTED", ["a", "b"]);
    assert.equal(print([good], {}).err, "");
    assert.match(print([good], { debug: true }).err, /Receiving flows from 2 nodes: a, b/);
  });
  it("cuts long lists of nodes", () => {
    const many = Array.from({ length: 20 }, (_, index) => `worker-${index}`);
    assert.match(print([status("NODE_UNAVAILABLE", many)], {}).err, /worker-4 \(and 15 more\)\n$/);
  });
});

describe("pieces", () => {
  it("makes text from the network harmless", () => assert.equal(escapeTerminal("a\u001b[31mb\r\n\u007f\u009b"), "a^[[31mb\\r\\n^?\\u009b"));
  it("aligns as Go's tab writer", () =>
    assert.equal(
      alignRows([
        ["A", "BB", "C"],
        ["xxxx", "", "z"],
      ]),
      "A      BB   C\nxxxx        z",
    ));
  it("writes durations as Go", () => {
    const golden = { 0: "0s", 7: "7ns", 1500: "1.5µs", 2000000: "2ms", 61000000001: "1m1.000000001s", 7200000000000: "2h0m0s" };
    for (const [nanoseconds, text] of Object.entries(golden)) assert.equal(formatNanoseconds(BigInt(nanoseconds)), text);
  });
  it("knows upstream's time formats", () => {
    const shown = timeFormats.map((format) => formatTime(timestampOf(DEMO_TIME), format));
    assert.deepEqual(shown, [
      T,
      "2026-06-14",
      "2026-06-14T13Z",
      "2026-06-14T13:25Z",
      "2026-06-14T13:25:42Z",
      "2026-06-14T13:25:42.102Z",
      "2026-06-14T13:25:42.102Z",
      "2026-06-14T13:25:42.102Z",
      "Sun, 14 Jun 2026 13:25:42 +0000",
    ]);
  });
});
