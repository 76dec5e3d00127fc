import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { structCode } from "../../tools/btf/codecs.ts";
import { enumCode } from "../../tools/btf/enums.ts";
import { type ObjectFacts, readObject } from "../../tools/btf/objects.ts";
import { compile } from "./compile.ts";

describe("tools/btf", () => {
  const scratch = mkdtempSync(join(tmpdir(), "cilia-btf-"));
  let object: ObjectFacts;

  before(() => {
    const path = join(scratch, "layout.o");
    compile("layout.c", path);
    object = readObject(path);
  });
  after(() => rmSync(scratch, { recursive: true }));

  it("reads maps, the inner one too", () => {
    const [map] = object.maps;
    assert.deepEqual([map?.name, map?.type, map?.maxEntries], ["sample_outer", 13, 20]);
    assert.deepEqual([map?.inner?.type, map?.inner?.maxEntries, map?.inner?.flags], [11, 10, 1]);
  });

  it("reads load-time constants with help and initial value", () => {
    assert.deepEqual(object.constants, [{ name: "sample_count", offset: 0, size: 2, signed: false, help: "how many", initial: 513 }]);
  });

  it("makes a codec that knows byte order, bit-fields, sign, structs and wide numbers", () => {
    const code = structCode(object.types, "sample_key");
    for (const line of [
      "into.fill(0, offset, offset + 40);",
      "into.writeUInt16BE(value.dport, offset + 4);",
      "wild: (from.readUInt8(offset + 6) >> 1) & 0x7,",
      "error: from.readInt8(offset + 7),",
      "sampleInner.encode(value.inner, into, offset + 8);",
      "readonly when: bigint;",
    ]) {
      assert.ok(code.includes(line), `${line} is not in\n${code}`);
    }
    assert.ok(!code.includes("pad2"));
    assert.match(structCode(object.types, "sample_inner"), /writeBytes\(value\.mac, into, offset \+ 4, 6\)/);
  });

  it("names the values of enums, negative ones too", () => {
    const code = enumCode(object.types, "sample_kind");
    assert.match(code, /SOME_THING: 7/);
    assert.match(code, /OTHER: -3/);
  });

  it("agrees with what is committed", () => {
    const checked = spawnSync(process.execPath, ["tools/btfgen.ts", "--check"], { cwd: new URL("../..", import.meta.url).pathname });
    assert.equal(checked.stderr.toString(), "");
    assert.equal(checked.status, 0);
  });
});
