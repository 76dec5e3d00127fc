import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIP } from "node:net";
import { bits, boolean, explicit, implicit, integer, octets, oid, sequence, set, time, utf8 } from "./der.ts";

/** A certificate and its private key, both PEM. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

export interface CertificateRequest {
  readonly commonName: string;
  /** Kubernetes reads these as the user's groups. */
  readonly organizations?: readonly string[];
  readonly purpose: "ca" | "server" | "client";
  /** Host names and addresses of a server. */
  readonly names?: readonly string[];
  /** How long it is valid from now on, days. */
  readonly days?: number;
  /** Since when it is valid: an hour ago when left out, for clocks that lag. */
  readonly from?: Date;
}

const OID = {
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  extendedKeyUsage: "2.5.29.37",
  subjectAltName: "2.5.29.17",
  subjectKeyId: "2.5.29.14",
  authorityKeyId: "2.5.29.35",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;

/** Makes a P-256 key and an X.509 v3 certificate (RFC 5280) for it, signed by the issuer, or by itself when there is none. */
export function issueCertificate(request: CertificateRequest, issuer?: KeyPair & { readonly commonName: string }): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const signer = issuer ? createPrivateKey(issuer.key) : privateKey;
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const from = request.from ?? new Date(Date.now() - 3_600_000);
  const until = new Date(Date.now() + (request.days ?? 3650) * 86_400_000);
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(randomBytes(16)),
    algorithm,
    issuer ? name(issuer.commonName) : name(request.commonName, request.organizations),
    sequence(time(from), time(until)),
    name(request.commonName, request.organizations),
    publicKey.export({ type: "spki", format: "der" }),
    explicit(3, sequence(...extensions(request, publicKey, createPublicKey(signer)))),
  );
  const certificate = sequence(body, algorithm, bits(sign("sha256", body, signer)));
  return { certificate: pem(certificate), key: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}

function name(commonName: string, organizations: readonly string[] = []): Buffer {
  const attribute = (type: string, value: string) => set(sequence(oid(type), utf8(value)));
  return sequence(...organizations.map((one) => attribute(OID.organization, one)), attribute(OID.commonName, commonName));
}

function extensions(request: CertificateRequest, subject: KeyObject, authority: KeyObject): Buffer[] {
  const extension = (type: string, critical: boolean, value: Uint8Array) =>
    critical ? sequence(oid(type), boolean(true), octets(value)) : sequence(oid(type), octets(value));
  const isAuthority = request.purpose === "ca";
  const list = [
    extension(OID.basicConstraints, true, isAuthority ? sequence(boolean(true)) : sequence()),
    // Bits of RFC 5280 §4.2.1.3: digitalSignature (0), keyCertSign (5), cRLSign (6).
    extension(OID.keyUsage, true, isAuthority ? bits(Buffer.from([0x86]), 1) : bits(Buffer.from([0x80]), 7)),
    extension(OID.subjectKeyId, false, octets(keyId(subject))),
    extension(OID.authorityKeyId, false, sequence(implicit(0, keyId(authority)))),
  ];
  if (!isAuthority) {
    list.push(extension(OID.extendedKeyUsage, false, sequence(oid(request.purpose === "server" ? OID.serverAuth : OID.clientAuth))));
  }
  if (request.names?.length) list.push(extension(OID.subjectAltName, false, sequence(...request.names.map(alternativeName))));
  return list;
}

/** SHA-1 of the public point, as RFC 5280 §4.2.1.2 suggests: an identifier, not a protection. */
function keyId(key: KeyObject): Buffer {
  const spki = key.export({ type: "spki", format: "der" });
  return createHash("sha1").update(spki.subarray(-65)).digest();
}

function alternativeName(text: string): Buffer {
  const family = isIP(text);
  if (family === 0) return implicit(2, Buffer.from(text, "ascii"));
  return implicit(7, family === 4 ? Buffer.from(text.split(".").map(Number)) : ipv6Bytes(text));
}

function ipv6Bytes(text: string): Buffer {
  const [head = "", tail] = text.split("::");
  const groups = (part: string) =>
    part
      .split(":")
      .filter(Boolean)
      .map((group) => Number.parseInt(group, 16));
  const before = groups(head);
  const after = groups(tail ?? "");
  const all = tail === undefined ? before : [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

function pem(der: Buffer): string {
  const lines = der.toString("base64").replace(/.{64}/g, "$&\n").trimEnd();
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}
