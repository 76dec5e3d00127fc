import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createLogger } from "#runtime/logger.ts";
import { accelerate, type DriverMode } from "./acceleration.ts";
import type { LbSettings } from "./lb-settings.ts";

/** What happens to a device of this kind: what it got, last of all, and what the log says. */
function run(wanted: LbSettings["acceleration"], { isVeth = false, refuses = false } = {}) {
  const got: (DriverMode | undefined)[] = [];
  const lines: string[] = [];
  const log = createLogger("test", { write: (line) => void lines.push(line), text: false });
  const put = (mode: DriverMode | undefined) => {
    if (mode === "native" && refuses) throw new Error("EOPNOTSUPP");
    got.push(mode);
  };
  accelerate({ log, device: { name: "eth7", isVeth }, put }, wanted);
  return { got, log: lines.join("") };
}

describe("accelerate", () => {
  it("does as it is told where the driver can", () => {
    assert.deepEqual(run("disabled"), { got: [undefined], log: "" });
    assert.deepEqual(run("testing-only", { isVeth: true }), { got: ["generic"], log: "" });
    for (const wanted of ["native", "best-effort"] as const) assert.deepEqual(run(wanted), { got: ["native"], log: "" });
  });

  it("at best effort goes without where the driver cannot, and says which device and why", () => {
    for (const device of [{ refuses: true }, { isVeth: true }]) {
      const { got, log } = run("best-effort", device);
      assert.deepEqual(got, [undefined]);
      assert.match(log, /"level":"warn".*"device":"eth7".*the device's driver takes no program/);
      assert.match(log, device.isVeth ? /a veth's peer loses/ : /EOPNOTSUPP/);
    }
  });

  it("in native mode fails where the driver cannot, and warns where a veth's peer would lose packets", () => {
    assert.throws(() => run("native", { refuses: true }), /EOPNOTSUPP/);
    const { got, log } = run("native", { isVeth: true });
    assert.deepEqual(got, ["native"]);
    assert.match(log, /"instead":"testing-only"/);
  });
});
