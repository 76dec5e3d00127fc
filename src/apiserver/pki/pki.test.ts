import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { issueCertificate } from "#pki/certificate.ts";
import { openPki } from "./pki.ts";
import { createTokens } from "./token.ts";

describe("certificates of the cluster", () => {
  it("are kept over restarts, and the server's is made again for a new name", () => {
    const directory = mkdtempSync(join(tmpdir(), "cilia-pki-"));
    try {
      const first = openPki(directory, ["localhost"]);
      const second = openPki(directory, ["localhost"]);
      const third = openPki(directory, ["localhost", "10.0.0.1"]);
      assert.equal(second.server.certificate, first.server.certificate);
      assert.equal(third.ca, first.ca);
      assert.notEqual(third.server.certificate, first.server.certificate);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("service account tokens", () => {
  const { key } = issueCertificate({ commonName: "x", purpose: "client" });
  let now = new Date("2026-01-01T00:00:00Z");
  const tokens = createTokens(key, () => now);
  const claims = { namespace: "ns", serviceAccount: "sa", uid: "u", expires: now.getTime() / 1000 + 60 };
  it("say whose they are until they expire", () => {
    const token = tokens.issue(claims, ["a"]);
    assert.deepEqual(tokens.check(token), claims);
    now = new Date("2026-01-01T00:01:01Z");
    assert.equal(tokens.check(token), undefined);
    now = new Date("2026-01-01T00:00:00Z");
  });
  it("are refused when anything in them is changed, or when they are none", () => {
    const [header = "", payload = "", signature = ""] = tokens.issue(claims, ["a"]).split(".");
    const forged = Buffer.from(Buffer.from(payload, "base64url").toString().replace("sa", "admin")).toString("base64url");
    for (const token of [
      `${header}.${forged}.${signature}`,
      `${header}.${payload}.`,
      "",
      "a.b.c",
      `${header}.${payload}.${"A".repeat(86)}`,
    ]) {
      assert.equal(tokens.check(token), undefined);
    }
  });
});
