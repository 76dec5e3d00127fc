import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KernelError } from "#sys/kernel-error.ts";
import { u32 } from "./codec.ts";
import { bpfCompliance } from "./compliance.ts";
import { createFakeBpf } from "./fake.ts";
import { MAP_TYPE } from "./spec.ts";

bpfCompliance("the fake", () => ({ bpf: createFakeBpf(), pins: "/pins" }));

const spec = { name: "m", type: MAP_TYPE.hash, key: u32, value: u32, maxEntries: 4, flags: 0 };

describe("createFakeBpf", () => {
  it("fails when it is told to", () => {
    let failing = true;
    const bpf = createFakeBpf({
      fail: (operation, about) => {
        if (failing && operation === "set") throw new KernelError("bpf", 12, about);
      },
    });
    const map = bpf.createMap(spec);
    assert.throws(() => map.set(1, 1), /ENOMEM/);
    failing = false;
    map.set(1, 1);
    assert.equal(map.get(1), 1);
  });

  it("remembers what is attached where, through restarts", () => {
    const bpf = createFakeBpf();
    const first = bpf.load("a.o").program("first");
    bpf.attachTcx(first, 7, "ingress").pin("/pins/link");
    bpf.openLink("/pins/link").update(bpf.load("b.o").program("second"));
    assert.deepEqual(bpf.attachments, [{ where: "tcx ingress 7", program: "second", detached: false }]);
    bpf.openLink("/pins/link").detach();
    assert.throws(() => bpf.openLink("/pins/link").update(first), /ENOLINK/);
  });

  it("pins the maps of a loaded object and hands records to ring readers", () => {
    const ring = { name: "events", type: MAP_TYPE.ringbuf };
    const bpf = createFakeBpf({ maps: [spec, ring] });
    bpf.load("a.o", { pinRoot: "/pins" });
    bpf.openMap(spec, "/pins/m").set(1, 2);
    assert.deepEqual(bpf.dump(spec, "/pins/m"), [[1, 2]]);
    const seen: string[] = [];
    const reader = bpf.openRing(bpf.openRingMap("/pins/events"), (batch) => {
      for (const record of batch) seen.push(record.toString());
    });
    bpf.emit("/pins/events", [Buffer.from("one"), Buffer.from("two")]);
    reader.close();
    bpf.emit("/pins/events", [Buffer.from("three")]);
    assert.deepEqual(seen, ["one", "two"]);
  });
});
