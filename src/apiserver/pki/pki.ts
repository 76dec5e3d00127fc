import { X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { type CertificateRequest, issueCertificate, type KeyPair } from "#pki/certificate.ts";

const CA_NAME = "kubernetes";

/** The cluster's keys. They are kept in the directory, so that kubeconfigs stay valid over restarts. */
export interface Pki {
  /** PEM of the authority's certificate. */
  readonly ca: string;
  readonly server: KeyPair;
  /** Signs service account tokens. */
  readonly tokenKey: string;
  issueClient(user: string, groups: readonly string[]): KeyPair;
}

/** Loads or makes the authority, the server's certificate (made again when a name is missing) and the token key. */
export function openPki(directory: string, names: readonly string[]): Pki {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const authority = load(directory, "ca", () => issueCertificate({ commonName: CA_NAME, purpose: "ca" }));
  const issue = (request: CertificateRequest) => issueCertificate(request, { ...authority, commonName: CA_NAME });
  const request: CertificateRequest = { commonName: "kube-apiserver", purpose: "server", names };
  let server = load(directory, "server", () => issue(request));
  if (!covers(server.certificate, authority.certificate, names)) {
    server = issue(request);
    save(directory, "server", server);
  }
  const token = load(directory, "service-accounts", () => issue({ commonName: "service-accounts", purpose: "client" }));
  return {
    ca: authority.certificate,
    server,
    tokenKey: token.key,
    issueClient: (user, groups) => issue({ commonName: user, organizations: groups, purpose: "client" }),
  };
}

function covers(certificate: string, ca: string, names: readonly string[]): boolean {
  const parsed = new X509Certificate(certificate);
  const stillValid = parsed.validToDate.getTime() > Date.now() + 86_400_000;
  const ours = parsed.verify(new X509Certificate(ca).publicKey);
  return stillValid && ours && names.every((name) => (isIP(name) ? parsed.checkIP(name) : parsed.checkHost(name)));
}

function load(directory: string, name: string, make: () => KeyPair): KeyPair {
  const path = join(directory, name);
  if (existsSync(`${path}.crt`) && existsSync(`${path}.key`)) {
    return { certificate: readFileSync(`${path}.crt`, "utf8"), key: readFileSync(`${path}.key`, "utf8") };
  }
  const pair = make();
  save(directory, name, pair);
  return pair;
}

/** The key first: a certificate on disk always has its key. */
function save(directory: string, name: string, pair: KeyPair): void {
  const path = join(directory, name);
  for (const [suffix, text] of [
    ["key", pair.key],
    ["crt", pair.certificate],
  ] as const) {
    writeFileSync(`${path}.${suffix}.new`, text, { mode: 0o600 });
    renameSync(`${path}.${suffix}.new`, `${path}.${suffix}`);
  }
}
