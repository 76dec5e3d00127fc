import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TestCertificate {
  readonly certificate: string;
  readonly privateKey: string;
}

/** A certificate for these names that signs itself, so it is its own authority. Made by openssl. */
export function makeCertificate(...names: readonly string[]): TestCertificate {
  const directory = mkdtempSync(join(tmpdir(), "cilium-tls-"));
  try {
    const [key, cert] = [join(directory, "key"), join(directory, "cert")];
    const subject = ["-subj", `/CN=${names[0]}`, "-addext", `subjectAltName=${names.map((name) => `DNS:${name}`).join(",")}`];
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"];
    execFileSync("openssl", ["req", "-x509", ...curve, "-keyout", key, "-out", cert, ...subject], { stdio: "ignore" });
    return { certificate: readFileSync(cert, "utf8"), privateKey: readFileSync(key, "utf8") };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
