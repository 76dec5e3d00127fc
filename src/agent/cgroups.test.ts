import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createCgroupIndex } from "./cgroups.ts";

const UID = "9f1c2d3e-0000-4000-8000-00000000abcd";

describe("createCgroupIndex", () => {
  it("finds the pod of a cgroup, whatever the runtime calls it, and looks again for new ones", () => {
    const root = mkdtempSync(join(tmpdir(), "cgroups-"));
    const make = (path: string) => {
      mkdirSync(join(root, path), { recursive: true });
      return statSync(join(root, path), { bigint: true }).ino;
    };
    let time = 0;
    const index = createCgroupIndex(root, () => time);
    const container = make(`kubepods.slice/kubepods-pod${UID.replaceAll("-", "_")}.slice/cri-containerd-1`);
    const system = make("system.slice");
    assert.equal(index.podUid(container), UID);
    assert.equal(index.podUid(system), undefined);
    const later = make(`lab/node/${UID}`);
    assert.equal(index.podUid(later), undefined, "not before a second has passed");
    time = 1000;
    assert.equal(index.podUid(later), UID);
    rmSync(root, { recursive: true });
  });
});
