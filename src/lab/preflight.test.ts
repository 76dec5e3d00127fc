import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatMissing, missingCapabilities, missingFeatures } from "./preflight.ts";

describe("preflight", () => {
  it("says of each feature that the kernel lacks what does not work and what to do", () => {
    const missing = missingFeatures([
      { name: "link tcx", available: false },
      { name: "map ringbuf", available: true },
      { name: "helper bpf_redirect_peer", available: false },
    ]);
    const lines = formatMissing(missing).split("\n");
    assert.equal(lines.length, 4);
    assert.match(lines[1] ?? "", /^ {2}MISSING +WITHOUT IT +DO$/);
    assert.match(lines[2] ?? "", /^ {2}eBPF link tcx +no policy can be enforced: .* +a kernel with CONFIG_NET_XGRESS$/);
    assert.match(lines[3] ?? "", /^ {2}eBPF helper bpf_redirect_peer +the datapath does not load +this is .*: boot a newer kernel$/);
  });

  it("names the capabilities that root lacks", () => {
    assert.deepEqual(missingCapabilities("CapInh:\t0000000000000000\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n"), []);
    assert.deepEqual(missingCapabilities("CapEff:\t0000000000000000\n").length, 8);
    const withoutAdmin = (0x1ffffffffffn & ~(1n << 12n) & ~(1n << 39n)).toString(16).padStart(16, "0");
    assert.deepEqual(missingCapabilities(`CapEff:\t${withoutAdmin}\n`), ["NET_ADMIN", "BPF"]);
  });
});
