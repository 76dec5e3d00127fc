import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import type { SecureContextOptions } from "node:tls";
import { certificateName, dateProblem } from "./certificate-dates.ts";

/** Files of a server that speaks TLS; they may come late and change at any time, as mounted Secrets do. */
export interface ServerTls {
  readonly certFile: string;
  readonly keyFile: string;
  /** Authorities of clients; a client without a certificate of theirs is refused. Empty: any client. */
  readonly clientCaFiles: readonly string[];
}

/** How often the files are looked at. */
export const TLS_CHECK_MS = 1000;

function filesOf({ certFile, keyFile, clientCaFiles }: ServerTls): string[] {
  return [certFile, keyFile, ...clientCaFiles];
}

/** The files that are not there yet. */
export function missingFiles(tls: ServerTls): string[] {
  return filesOf(tls).filter((file) => !existsSync(file));
}

/** What the files say, to tell whether they changed; empty while one is missing. */
export function versionOf(tls: ServerTls): string {
  try {
    return filesOf(tls)
      .map((file) => {
        const { mtimeMs, ino, size } = statSync(file);
        return `${mtimeMs} ${ino} ${size}`;
      })
      .join();
  } catch {
    return "";
  }
}

/** The secure context of the files as they are now. Throws the file system's or OpenSSL's error. */
export function secureContext({ certFile, keyFile, clientCaFiles }: ServerTls): SecureContextOptions {
  return {
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
    ca: clientCaFiles.map((file) => readFileSync(file)),
    minVersion: "TLSv1.3",
  };
}

/** What is wrong with the dates of the server's certificate as it is now; empty when nothing is, or it cannot be read. */
export function validityProblem({ certFile }: ServerTls, now: Date): string {
  try {
    const certificate = new X509Certificate(readFileSync(certFile));
    const problem = dateProblem(certificate, now);
    return problem === undefined ? "" : `${certificateName(certificate)} ${problem}`;
  } catch {
    return "";
  }
}
