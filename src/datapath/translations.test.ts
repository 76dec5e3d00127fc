import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Bpf, Program } from "#ebpf/bpf.ts";
import { createFakeBpf } from "#ebpf/fake.ts";
import { addressToBytes, IpAddress } from "#types/addr.ts";
import { addr16 } from "./addr16.ts";
import { createAttachments } from "./attach.ts";
import { collectTranslations } from "./conntrack.ts";
import { maps as specs } from "./gen/maps.ts";

const address = (text: string) => addr16(addressToBytes(IpAddress(text)));

describe("collectTranslations", () => {
  it("takes what is over, and nothing that is in use", async () => {
    const nat = createFakeBpf().createMap(specs.ciliumSnat);
    const key = (dport: number) => ({
      ...{ source: address("10.0.0.1"), destination: address("172.18.0.2"), sport: 80, dport, protocol: 6, direction: 1 },
    });
    const entry = (lifetime: number) => ({ address: address("198.51.100.7"), port: 50_000, flags: 0, serviceId: 1, created: 1, lifetime });
    nat.set(key(1024), entry(99));
    nat.set(key(1025), entry(100));
    nat.set(key(1026), entry(8000));
    assert.deepEqual(await collectTranslations(nat, () => 100), { alive: 2, deleted: 1 });
    assert.deepEqual([...nat.keys()].map(({ dport }) => dport).sort(), [1025, 1026]);
  });
});

describe("the driver's program", () => {
  const program = (name: string): Program => ({ name, fd: 0, pin: () => {}, close: () => {}, [Symbol.dispose]: () => {} });
  const programs = {
    ...{ fromContainer: program("a"), toContainer: program("b"), fromNetdev: program("c"), toNetdev: program("d") },
    ...{ driver: program("x"), http: undefined, sockets: new Map() },
  };

  it("is in one place at a time, and goes when it is not wanted", () => {
    const directory = mkdtempSync(join(tmpdir(), "driver-"));
    try {
      const fake = createFakeBpf();
      // A bpf file system shows its pins; the fake keeps them to itself.
      const attachXdp: Bpf["attachXdp"] = (...request) => ({ ...fake.attachXdp(...request), pin: (path) => writeFileSync(path, "") });
      const attachments = createAttachments({ bpf: { ...fake, attachXdp }, expedite: (work) => work() }, programs, directory);
      const pins = () => readdirSync(join(directory, "devices", "eth0"));
      attachments.driver("eth0", 7, "native");
      assert.deepEqual(pins(), ["xdp_native"]);
      attachments.driver("eth0", 7, "generic");
      assert.deepEqual(pins(), ["xdp_generic"]);
      attachments.driver("eth0", 7, undefined);
      assert.deepEqual(pins(), []);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
