import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { AgentEventSchema, DebugEventSchema } from "#api/gen/flow/events_pb.ts";
import { GetFlowsResponseSchema } from "#api/gen/observer/observer_pb.ts";
import { agentEventCells } from "./agent-events.ts";
import { debugEventCells, debugEventForms } from "./debug-events.ts";
import { createEventPrinter } from "./event-printer.ts";
import { createPrinter, type OutputFormat } from "./printer.ts";

const time = "2026-06-14T13:25:42.102Z";
const T = "Jun 14 13:25:42.102";

const flow = (more: JsonObject): JsonObject => ({
  flow: {
    time,
    verdict: "FORWARDED",
    IP: { source: "10.0.2.7", destination: "fd00::9", ipVersion: "IPv6" },
    l4: { TCP: { source_port: 37954, destination_port: 80, flags: { SYN: true } } },
    source: { identity: 4208, namespace: "default", pod_name: "tiefighter" },
    node_name: "w",
    Summary: "TCP Flags: SYN",
    ...more,
  },
  node_name: "w",
  time,
});
const ENDS = "default/tiefighter:37954 (ID:4208) -> [fd00::9]:80 (unknown)";
const TO = { destination: { identity: 2 }, is_reply: false };

/** What of a line differs by event: the response, the words after the ends, and TYPE, VERDICT and SUMMARY. */
const EVENTS: Readonly<Record<string, readonly [JsonObject, string, readonly [string, string, string]]>> = {
  "trace, an end without identity": [
    { event_type: { type: 4, sub_type: 5 }, is_reply: false },
    `${ENDS} from-endpoint FORWARDED (TCP Flags: SYN)`,
    ["from-endpoint", "FORWARDED", "TCP Flags: SYN"],
  ],
  drop: [
    { ...TO, is_reply: null, verdict: "DROPPED", event_type: { type: 1, sub_type: 181 } },
    "default/tiefighter:37954 (ID:4208) <> [fd00::9]:80 (world) Policy denied by denylist DROPPED (TCP Flags: SYN)",
    ["Policy denied by denylist", "DROPPED", "TCP Flags: SYN"],
  ],
  "audited verdict": [
    { ...TO, verdict: "AUDIT", event_type: { type: 5 }, policy_match_type: 2, traffic_direction: "EGRESS", auth_type: "SPIRE" },
    "default/tiefighter:37954 (ID:4208) -> [fd00::9]:80 (world) policy-verdict:L3-L4 EGRESS AUDITED (TCP Flags: SYN; Auth: SPIRE)",
    ["policy-verdict:L3-L4 EGRESS", "AUDITED", "TCP Flags: SYN; Auth: SPIRE"],
  ],
  "HTTP answer": [
    {
      ...TO,
      is_reply: true,
      event_type: { type: 129 },
      l7: { type: "RESPONSE", http: { code: 200 } },
      Summary: "HTTP/1.1 200 4ms (GET /a?b&c)",
    },
    "[fd00::9]:80 (world) <- default/tiefighter:37954 (ID:4208) http-response FORWARDED (HTTP/1.1 200 4ms (GET /a?b&c))",
    ["http-response", "FORWARDED", "HTTP/1.1 200 4ms (GET /a?b&c)"],
  ],
  "DNS question, seen in passing": [
    { ...TO, event_type: { type: 129 }, l7: { type: "REQUEST", dns: { query: "a." } }, Summary: "DNS Query a. A" },
    "default/tiefighter:37954 (ID:4208) -> [fd00::9]:80 (world) dns-request  FORWARDED (DNS Query a. A)",
    ["dns-request ", "FORWARDED", "DNS Query a. A"],
  ],
  "L7 of an unknown protocol": [
    { ...TO, event_type: { type: 129 }, l7: { type: "SAMPLE" } },
    "default/tiefighter:37954 (ID:4208) -> [fd00::9]:80 (world) l7-sample FORWARDED (TCP Flags: SYN)",
    ["l7-sample", "FORWARDED", "TCP Flags: SYN"],
  ],
  "socket translation": [
    {
      ...TO,
      is_reply: null,
      verdict: "TRANSLATED",
      event_type: { type: 7 },
      sock_xlate_point: "SOCK_XLATE_POINT_POST_DIRECTION_FWD",
      Summary: "TCP",
    },
    "default/tiefighter:37954 (ID:4208) <> [fd00::9]:80 (world) post-xlate-fwd TRANSLATED (TCP)",
    ["post-xlate-fwd", "TRANSLATED", "TCP"],
  ],
  capture: [
    { ...TO, event_type: { type: 3 }, debug_capture_point: "DBG_CAPTURE_DELIVERY" },
    "default/tiefighter:37954 (ID:4208) -> [fd00::9]:80 (world) DBG_CAPTURE_DELIVERY FORWARDED (TCP Flags: SYN)",
    ["DBG_CAPTURE_DELIVERY", "FORWARDED", "TCP Flags: SYN"],
  ],
};

function print(json: JsonValue, format: OutputFormat, debug = false): { out: string; err: string } {
  const text = { out: "", err: "" };
  const out = (part: string) => {
    text.out += part;
  };
  const err = (part: string) => {
    text.err += part;
  };
  const printer = createPrinter({ format, debug, out, err });
  printer.print(fromJson(GetFlowsResponseSchema, json));
  printer.end();
  return text;
}

describe("golden output of flows", () => {
  for (const [name, [more, words, [type, verdict, summary]]] of Object.entries(EVENTS)) {
    it(`${name}, compact`, () => assert.equal(print(flow(more), "compact").out, `${T}: ${words}\n`));
    it(`${name}, dict`, () => {
      const block = `  TIMESTAMP: ${T}\n     SOURCE: default/tiefighter:37954\nDESTINATION: [fd00::9]:80\n       TYPE: ${type}\n    VERDICT: ${verdict}\n    SUMMARY: ${summary}\n`;
      assert.equal(print(flow(more), "dict").out, block);
    });
    it(`${name}, table`, () => {
      const cells = [T, "default/tiefighter:37954", "[fd00::9]:80", type, verdict, summary];
      const heads = ["TIMESTAMP", "SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY"];
      const pad = (row: string[]) =>
        row
          .map((cell, at) =>
            at === row.length - 1 ? cell : cell.padEnd(Math.max(cell.length, heads[at]?.length ?? 0, cells[at]?.length ?? 0) + 3),
          )
          .join("");
      assert.equal(print(flow(more), "table").out, `${pad(heads)}\n${pad(cells)}\n`);
    });
    it(`${name}, JSON`, () => {
      const { out } = print(flow(more), "json");
      assert.equal(out.split("\n").length, 2);
      assert(!/[<>&]/.test(out), "as Go's encoder writes it");
      assert.equal((JSON.parse(out) as { flow: { verdict: string } }).flow.verdict, more.verdict ?? "FORWARDED");
    });
  }
});

describe("golden output of what is no flow", () => {
  const lost: JsonObject = { lost_events: { source: "PERF_EVENT_RING_BUFFER", num_events_lost: "7", cpu: 3 }, node_name: "w", time };
  const gone: JsonObject = {
    node_status: { state_change: "NODE_ERROR", node_names: ["a", "b"], message: 'says "no"' },
    node_name: "relay",
    time,
  };
  const good: JsonObject = { node_status: { state_change: "NODE_CONNECTED", node_names: ["a"] }, node_name: "relay", time };

  it("losses", () => {
    assert.equal(print(lost, "compact").out, `${T} EVENTS LOST: PERF_EVENT_RING_BUFFER CPU(3) 7\n`);
    const block = `  TIMESTAMP: ${T}\n     SOURCE: PERF_EVENT_RING_BUFFER\n       TYPE: EVENTS LOST\n    VERDICT: -\n    SUMMARY: CPU(3) - 7\n`;
    assert.equal(print(lost, "dict").out, block);
    assert.match(print(lost, "table").out, / PERF_EVENT_RING_BUFFER {3}- {13}EVENTS LOST {3}- {9}CPU\(3\) - 7\n$/);
    assert.equal(
      print(lost, "json").out,
      `{"lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"7","cpu":3},"node_name":"w","time":"${time}"}\n`,
    );
  });
  it("errors of nodes, on standard error", () => {
    const line = `${T} [relay]: Error "says \\"no\\"" on 2 nodes: a, b\n`;
    for (const format of ["compact", "table"] as const) assert.deepEqual(print(gone, format), { out: "", err: line });
    assert.deepEqual(print(gone, "dict"), {
      out: "",
      err: `  TIMESTAMP: ${T}\n      STATE: NODE_ERROR\n      NODES: a, b\n    MESSAGE: "says \\"no\\""\n`,
    });
    assert.match(print(gone, "json").err, /^\{"node_status":.*"NODE_ERROR"/);
  });
  it("good news of nodes only to those who debug", () => {
    for (const format of ["compact", "dict", "table", "json"] as const) {
      assert.deepEqual(print(good, format), { out: "", err: "" });
      assert.notEqual(print(good, format, true).err, "");
    }
  });
});

describe("golden output of other events", () => {
  const events = (
    format: "compact" | "dict" | "table",
    header: string[],
    forms: Parameters<ReturnType<typeof createEventPrinter>["print"]>[2],
  ) => {
    let text = "";
    const out = (part: string) => {
      text += part;
    };
    const printer = createEventPrinter({ format, header, nodeName: true, out });
    printer.print(T, "w", forms);
    printer.end();
    return text;
  };
  it("agent events", () => {
    const cells = (json: JsonValue) => Object.values(agentEventCells(fromJson(AgentEventSchema, json)));
    assert.deepEqual(cells({ type: "POLICY_UPDATED", policy_update: { labels: ["k8s:a"], revision: "4", rule_count: "1" } }), [
      "POLICY_UPDATED",
      "labels: [k8s:a], revision: 4, count: 1",
    ]);
    assert.deepEqual(cells({ type: "ENDPOINT_CREATED", endpoint_update: { id: "7", namespace: "n", pod_name: "p" } }), [
      "ENDPOINT_CREATED",
      "id: 7, namespace: n, pod name: p",
    ]);
    assert.deepEqual(cells({ type: "AGENT_EVENT_UNKNOWN", unknown: { type: "x", notification: "y" } }), [
      "AGENT_EVENT_UNKNOWN",
      "type: x, notification: y",
    ]);
    assert.deepEqual(cells({ type: "SERVICE_DELETED" }), ["SERVICE_DELETED", "UNKNOWN"]);
  });
  it("debug events", () => {
    const forms = debugEventForms(
      debugEventCells(
        fromJson(DebugEventSchema, {
          type: "DBG_CT_LOOKUP",
          source: { ID: 12, namespace: "n", pod_name: "p" },
          hash: 255,
          cpu: 3,
          message: "m",
        }),
      ),
    );
    assert.equal(events("compact", [], forms), `${T} [w]: n/p (ID: 12) DBG_CT_LOOKUP MARK: 0xff CPU: 03 (m)\n`);
    assert.equal(
      events("dict", [], forms),
      `  TIMESTAMP: ${T}\n       NODE: w\n       TYPE: DBG_CT_LOOKUP\n       FROM: n/p (ID: 12)\n       MARK: 0xff\n        CPU: 03\n    MESSAGE: m\n`,
    );
    const table = events("table", ["FROM", "", "TYPE", "CPU/MARK", "MESSAGE"], forms);
    assert.match(table, /^TIMESTAMP +NODE {3}FROM +TYPE +CPU\/MARK {3}MESSAGE\nJun/);
    assert.deepEqual(Object.values(debugEventCells(undefined)).slice(0, 1), ["N/A"]);
  });
});
