import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readFlags } from "#runtime/flags.ts";
import { agentFlags } from "./config.ts";
import { lbSettings } from "./lb-settings.ts";

const settings = (...flags: string[]) => lbSettings(readFlags(agentFlags, flags, {}));

describe("lbSettings", () => {
  for (const [flags, sockets] of [
    [[], "all"],
    [["--bpf-lb-sock=false"], "all"],
    [["--bpf-lb-sock-hostns-only=true"], "host"],
    [["--kube-proxy-replacement=false"], "none"],
    [["--kube-proxy-replacement=false", "--bpf-lb-sock-hostns-only=true"], "none"],
    [["--kube-proxy-replacement=false", "--bpf-lb-sock=true"], "all"],
    [["--kube-proxy-replacement=false", "--bpf-lb-sock=true", "--bpf-lb-sock-hostns-only=true"], "host"],
  ] as const) {
    it(`sockets are translated as upstream does with ${flags.join(" ") || "no flags"}: ${sockets}`, () =>
      assert.equal(settings(...flags).sockets, sockets));
  }

  it("names the flag, what was found and what is allowed", () => {
    assert.throws(() => settings("--kube-proxy-replacement=strict"), /--kube-proxy-replacement: found "strict", allowed are true, false/);
    assert.throws(() => settings("--bpf-lb-maglev-table-size=1000"), /--bpf-lb-maglev-table-size: found "1000", allowed are 251, 509/);
    const dispatch = "--bpf-lb-dsr-dispatch=geneve";
    assert.throws(() => settings("--bpf-lb-mode=hybrid", dispatch), /--bpf-lb-dsr-dispatch: found "geneve", allowed are opt/);
    assert.equal(settings(dispatch).mode, "snat");
    assert.throws(() => settings("--node-port-range=40000,30000"), /--node-port-range: found "40000,30000"/);
  });
});
