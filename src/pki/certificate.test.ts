import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { describe, it } from "node:test";
import { issueCertificate } from "./certificate.ts";
import { integer, oid, time } from "./der.ts";

describe("certificates", () => {
  const ca = issueCertificate({ commonName: "authority", purpose: "ca" });
  it("are read by OpenSSL and verify against their authority", () => {
    const issued = issueCertificate({ commonName: "me", organizations: ["a", "b"], purpose: "client" }, { ...ca, commonName: "authority" });
    const parsed = new X509Certificate(issued.certificate);
    assert.equal(parsed.subject, "O=a\nO=b\nCN=me");
    assert.equal(parsed.issuer, "CN=authority");
    assert.ok(parsed.verify(new X509Certificate(ca.certificate).publicKey));
    assert.equal(parsed.ca, false);
    assert.equal(new X509Certificate(ca.certificate).ca, true);
  });
  it("carry names and addresses of both families", () => {
    const names = ["localhost", "10.96.0.1", "fd00::1"];
    const parsed = new X509Certificate(issueCertificate({ commonName: "server", purpose: "server", names }).certificate);
    assert.deepEqual([parsed.checkHost("localhost"), parsed.checkIP("10.96.0.1"), parsed.checkIP("fd00::1")], names);
    assert.equal(parsed.checkHost("example.org"), undefined);
  });
});

describe("DER", () => {
  it("writes integers without sign trouble", () => {
    assert.equal(integer(Buffer.from([0, 0x80])).toString("hex"), "02020080");
    assert.equal(integer(Buffer.from([0])).toString("hex"), "020100");
  });
  it("writes object identifiers", () => assert.equal(oid("1.2.840.10045.4.3.2").toString("hex"), "06082a8648ce3d040302"));
  it("changes the form of times in 2050", () => {
    assert.equal(time(new Date("2049-12-31T23:59:59Z"))[0], 0x17);
    assert.equal(time(new Date("2050-01-01T00:00:00Z"))[0], 0x18);
  });
});
