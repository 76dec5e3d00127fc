import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadFailure, tellingLine, VerifierError } from "./errors.ts";

const log = `func#0 @0
0: R1=ctx() R10=fp0
; return bpf_skb_load_bytes(skb, 0, b, n);
12: (85) call bpf_skb_load_bytes#26
R4 unbounded memory access, use 'var &= const' or 'if (var < const)'
processed 13 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`;

describe("tellingLine", () => {
  it("is what the verifier objects to, not its statistics", () => {
    assert.equal(tellingLine(log), "R4 unbounded memory access, use 'var &= const' or 'if (var < const)'");
    assert.equal(tellingLine(""), "no log");
  });
});

describe("loadFailure", () => {
  it("names program and reason when the verifier refused", () => {
    const error = loadFailure("a.o", { errno: 13, message: "libbpf: prog 'cil_x': BPF program load failed: Permission denied\n", log });
    assert.ok(error instanceof VerifierError);
    assert.equal(error.program, "cil_x");
    assert.match(error.message, /^a\.o: the verifier refuses cil_x: R4 unbounded/);
    assert.equal(error.code, "EACCES");
  });

  it("has libbpf's own words otherwise", () => {
    const error = loadFailure("a.o", { errno: 2, message: "libbpf: failed to open a.o: No such file or directory\n", log: "" });
    assert.equal(error.message, "a.o: failed to open a.o: No such file or directory (ENOENT)");
  });
});
