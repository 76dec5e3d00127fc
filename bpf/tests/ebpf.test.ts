import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { MapSpec } from "#ebpf/bpf.ts";
import { u32, u64 } from "#ebpf/codec.ts";
import { bpfCompliance } from "#ebpf/compliance.ts";
import { LoadError, ShapeError, VerifierError } from "#ebpf/errors.ts";
import { probeFeatures } from "#ebpf/features.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { MAP_TYPE } from "#ebpf/spec.ts";
import { openNetlink } from "#netlink/socket.ts";
import { isKernelError } from "#sys/kernel-error.ts";
import { findCgroup2, mount, unmount } from "#sys/mount.ts";
import { createNetnsAt, deleteNetnsAt, inNetns, openNetns } from "#sys/netns.ts";
import { compile } from "./compile.ts";

const skip = process.getuid?.() === 0 ? false : "skipped, because loading eBPF takes root";
const seen: MapSpec<number, bigint> = { name: "sample_seen", type: MAP_TYPE.hash, key: u32, value: u64, maxEntries: 8, flags: 0 };
const bpf = openBpf();
const scratch = skip ? "" : mkdtempSync(join(tmpdir(), "cilia-ebpf-"));
const object = join(scratch, "sample.o");
let pinDirectories = 0;

function pinDirectory(): string {
  const directory = join(scratch, "bpffs", `${pinDirectories++}`);
  mkdirSync(directory);
  return directory;
}

const only = ["sample_answer", "sample_other", "sample_connect"];
const config = (answer: number) => {
  const section = Buffer.alloc(4);
  section.writeUInt32LE(answer);
  return { ".rodata.config": section };
};
const packet = Buffer.alloc(60);

before(() => {
  if (skip) return;
  mkdirSync(join(scratch, "bpffs"));
  mount({ source: "bpf", target: join(scratch, "bpffs"), type: "bpf" });
  compile("sample.c", object);
});

after(() => {
  if (skip) return;
  unmount(join(scratch, "bpffs"));
  rmSync(scratch, { recursive: true });
});

bpfCompliance("the kernel", () => ({ bpf, pins: pinDirectory() }), skip);

describe("openBpf", { skip }, () => {
  it("loads an object with its constants, and runs a program on a packet", () => {
    using loaded = bpf.load(object, { only, config: config(7) });
    const { returnValue, packet: after, context } = bpf.testRun(loaded.program("sample_answer"), { packet, context: Buffer.alloc(192) });
    assert.deepEqual([returnValue, after.length, context.readUInt32LE(8)], [7, 60, 77]);
    using map = loaded.map(seen);
    assert.deepEqual([...map.entries()], [[60, 1n]]);
    assert.throws(() => loaded.map({ ...seen, value: u32 }), ShapeError);
    assert.throws(() => loaded.program("nothing"), /sample\.o has no program nothing; it has sample_answer/);
  });

  it("measures a program", () => {
    using loaded = bpf.load(object, { only });
    const { durationNs } = bpf.testRun(loaded.program("sample_other"), { packet, repeat: 10_000 });
    assert.ok(durationNs > 0, `${durationNs} ns`);
  });

  it("pins maps by name and finds them at the next load", () => {
    const pinRoot = pinDirectory();
    const first = bpf.load(object, { only, pinRoot });
    bpf.testRun(first.program("sample_answer"), { packet });
    first.close();
    using again = bpf.load(object, { only, pinRoot });
    bpf.testRun(again.program("sample_answer"), { packet });
    using map = bpf.openMap(seen, join(pinRoot, "sample_seen"));
    assert.equal(map.get(60), 2n);
  });

  it("uses a given map in place of the object's", () => {
    using own = bpf.createMap(seen);
    using loaded = bpf.load(object, { only, reuse: { sample_seen: own } });
    bpf.testRun(loaded.program("sample_answer"), { packet });
    assert.equal(own.get(60), 1n);
  });

  it("says why the verifier refuses a program, or that there is no object", () => {
    assert.throws(
      () => bpf.load(object),
      (error) =>
        error instanceof VerifierError &&
        error.program === "sample_refused" &&
        /sample\.o: the verifier refuses sample_refused: .*invalid mem access 'map_value_or_null'/.test(error.message),
    );
    assert.throws(
      () => bpf.load(join(scratch, "none.o")),
      (error) => error instanceof LoadError && error.code === "ENOENT",
    );
  });

  it("delivers ring-buffer records in order", async () => {
    using loaded = bpf.load(object, { only });
    using map = loaded.ringMap("sample_ring");
    const lengths = await new Promise<number[]>((resolve) => {
      const got: number[] = [];
      const ring = bpf.openRing(map, (batch) => {
        for (const record of batch) got.push(record.readUInt32LE(0));
        if (got.length < 1000) return write();
        ring.close();
        resolve(got);
      });
      const write = () => {
        for (let i = 0; i < 100; i++) bpf.testRun(loaded.program("sample_answer"), { packet: Buffer.alloc(60 + i) });
      };
      write();
    });
    assert.deepEqual(
      lengths,
      Array.from({ length: 1000 }, (_, i) => 60 + (i % 100)),
    );
  });
});

describe("probeFeatures", { skip }, () => {
  it("finds what the datapath needs, on a kernel that runs it", () => {
    assert.deepEqual(
      probeFeatures().filter(({ available }) => !available),
      [],
    );
  });
});

describe("links", { skip }, () => {
  const path = `/run/netns/cilia-ebpf-${process.pid}`;

  /** In a namespace of its own, where `lo` is index 1. */
  function inFreshNetns(work: () => void): void {
    createNetnsAt(path);
    try {
      using netns = openNetns(path);
      inNetns(netns, work);
    } finally {
      deleteNetnsAt(path);
    }
  }

  it("attach to a device, outlive their handle by a pin, and take another program", () =>
    inFreshNetns(() => {
      using loaded = bpf.load(object, { only });
      const pin = join(pinDirectory(), "link");
      const link = bpf.attachTcx(loaded.program("sample_answer"), 1, "ingress");
      link.pin(pin);
      link.close();
      using found = bpf.openLink(pin);
      found.update(loaded.program("sample_other"));
      found.detach();
      assert.throws(() => found.update(loaded.program("sample_answer")), /ENOLINK/);
      assert.throws(
        () => bpf.attachTcx(loaded.program("sample_answer"), 99, "egress"),
        (error) => isKernelError(error, "ENODEV"),
      );
    }));

  it("see the packets of the device", () =>
    inFreshNetns(() => {
      using loaded = bpf.load(object, { only, config: config(2) });
      using netlink = openNetlink();
      netlink.apply([{ set: "link", name: "lo", up: true }]);
      using _link = bpf.attachTcx(loaded.program("sample_answer"), 1, "ingress");
      // A TCP SYN to a closed port: 14 + 20 + 40 bytes. It is dropped (2), so that bash would wait for long.
      using map = loaded.map(seen);
      for (let timeout = 300; map.get(74) === undefined && timeout < 60_000; timeout *= 2)
        spawnSync("bash", ["-c", "exec 3<>/dev/tcp/127.0.0.1/9"], { timeout });
      assert.ok((map.get(74) ?? 0n) >= 1n);
    }));

  it("refuse connections of one cgroup and of no other", async () => {
    const root = findCgroup2();
    if (root === undefined) throw new Error("no cgroup v2 is mounted");
    using loaded = bpf.load(object, { only });
    const directory = join(root, `cilia-ebpf-${process.pid}`);
    mkdirSync(directory);
    try {
      using _link = bpf.attachCgroup(loaded.program("sample_connect"), directory, "connect4");
      const attempt = ["-c", `echo $$ > ${directory}/cgroup.procs; exec 3<>/dev/tcp/127.0.0.1/9`];
      assert.match(spawnSync("bash", attempt).stderr.toString(), /not permitted/);
      assert.match(spawnSync("bash", ["-c", "exec 3<>/dev/tcp/127.0.0.1/9"]).stderr.toString(), /refused/);
    } finally {
      rmdirSync(directory);
    }
  });
});
