import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { FlowSchema } from "#api/gen/flow/flow_pb.ts";
import { decodeRecord } from "#monitor/decode.ts";
import { formatMonitorEvent } from "#monitor/format.ts";
import { silentLogger } from "#runtime/logger.ts";
import { demoNames, packetEvent } from "../fixtures.ts";
import { startObserver } from "../observer/observer.ts";
import { createPrinter } from "../printer/printer.ts";
import { flowOfPacket } from "./packet.ts";
import { createPolicyBook } from "./policies.ts";

const names = demoNames();
const record = fc
  .tuple(fc.constantFrom(1, 4, 5, 7, 0, 255), fc.uint8Array({ maxLength: 260 }))
  .map(([type, rest]) => Uint8Array.of(type, ...rest));

describe("any bytes", () => {
  it("of a ring-buffer record give an event or nothing, never an exception", () => {
    fc.assert(
      fc.property(record, (bytes) => {
        const event = decodeRecord(bytes, (ktime) => ktime);
        if (event !== undefined) assert.equal(typeof formatMonitorEvent(event), "string");
      }),
      { numRuns: 500 },
    );
  });

  it("become flows that every printer can print and that survive the wire", () => {
    const failures: unknown[] = [];
    const log = { ...silentLogger, warn: (_: string, fields?: unknown) => void failures.push(fields) };
    const observer = startObserver({ names, log, version: "v" }, { capacity: 1 });
    fc.assert(
      fc.property(record, (bytes) => {
        const event = decodeRecord(bytes, (ktime) => ktime % 10n ** 18n);
        if (event === undefined) return;
        observer.push(event);
        const entry = observer.ring.at(observer.ring.written - 1);
        assert(entry?.kind === "flow");
        const again = fromBinary(FlowSchema, toBinary(FlowSchema, entry.flow));
        assert.equal(again.Summary, entry.flow.Summary);
        const response = {
          $typeName: "observer.GetFlowsResponse",
          responseTypes: { case: "flow", value: entry.flow },
          nodeName: "",
        } as const;
        for (const format of ["compact", "dict", "table", "json"] as const) {
          const printer = createPrinter({ format, explain: true, out: () => undefined, err: () => undefined });
          printer.print(response);
          printer.end();
        }
      }),
      { numRuns: 300 },
    );
    assert.deepEqual(failures, []);
  });

  it("of a packet give a flow", () => {
    const book = createPolicyBook(names);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 128 }), fc.boolean(), (packet, l3Device) => {
        assert.equal(flowOfPacket(packetEvent({ packet, l3Device }), names, book).$typeName, "flow.Flow");
      }),
      { numRuns: 500 },
    );
  });
});
