import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { cilium, root, run } from "./lab.ts";

describe("npm start", () => {
  it("walks the policy progression with every cell as expected, and ends the lab with --once", async () => {
    const { code, stdout, stderr } = await cilium("lab", "demo", "--once");
    assert.equal(code, 0, `${stdout}\n${stderr}`);
    assert.match(stdout, /default deny/i);
    assert.match(stdout, /^ +expected +seen/m);
    const [, frontend, backend] = /demo\/frontend on (\S+),[\s\S]*demo\/backend on (\S+)/.exec(stderr) ?? [];
    assert.ok(frontend && backend && frontend !== backend, `the demo's traffic crosses nodes: ${stderr}`);
    assert.match(stdout, /demo\/default-deny/, "a denial names the policy that decided");
    assert.match(stdout, /deny-backend-to-world/, "the explicit deny names its policy");
    const { code: status } = await cilium("lab", "status");
    assert.notEqual(status, 0, "no lab is left behind");
  });

  it("says in one line that it needs root", async () => {
    const { code, stderr } = await run("setpriv", ["--reuid=65534", "--clear-groups", "scripts/start"]);
    assert.notEqual(code, 0);
    assert.equal(stderr.trim().split("\n").length, 1);
    assert.match(stderr, /sudo/);
  });

  it("says what is out of reach when a new checkout has no network", async () => {
    const checkout = mkdtempSync(join(tmpdir(), "checkout-"));
    try {
      for (const part of ["scripts", "package.json", "package-lock.json"])
        cpSync(`${root}${part}`, join(checkout, part), { recursive: true });
      const env = { ...process.env, npm_config_registry: "http://127.0.0.1:1/", npm_config_https_proxy: "null" };
      const { code, stderr } = await run(join(checkout, "scripts/setup"), [], { env });
      assert.deepEqual([code, stderr.trim().split("\n").length], [1, 1], stderr);
      assert.match(stderr, /^setup: the npm registry does not answer: curl: .*127\.0\.0\.1.*; is this machine online\?$/m);
    } finally {
      rmSync(checkout, { recursive: true });
    }
  });
});
