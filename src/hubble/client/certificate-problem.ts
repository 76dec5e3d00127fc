import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect, type TLSSocket } from "node:tls";
import { errorMessage } from "#runtime/errors.ts";
import { formatSocketAddress, parseSocketAddress } from "../server/address.ts";
import { certificateName, dateProblem } from "../server/certificate-dates.ts";
import { type TlsOptions, tlsOptions } from "./transport.ts";

const PROBE_MS = 3000;

/**
 * Why certificates keep a client from a server: ours, the authorities' or the server's, with its name, its date and what to do.
 * Undefined when they are not the reason, or nobody answers. Asks the server once more; never rejects.
 */
export async function certificateProblem(server: string, tls: TlsOptions, now = new Date()): Promise<string | undefined> {
  const own = ownCertificateProblem(tls, now);
  if (own !== undefined) return own;
  const address = parseSocketAddress(server);
  const target = "path" in address ? { path: address.path } : { host: address.host || "localhost", port: address.port };
  const socket = connect({ ...target, ...tlsOptions(tls, address), rejectUnauthorized: false });
  try {
    return await new Promise<string | undefined>((resolve) => {
      socket.setTimeout(PROBE_MS, () => resolve(undefined));
      socket.once("secureConnect", () => resolve(serverProblem(socket, formatSocketAddress(address), now)));
      socket.once("error", () => resolve(undefined));
      socket.once("close", () => resolve(undefined));
    });
  } finally {
    socket.destroy();
  }
}

/** What is wrong with the certificates that a client has itself. */
export function ownCertificateProblem({ certFile = "", caFiles = [] }: TlsOptions, now = new Date()): string | undefined {
  for (const file of [certFile, ...caFiles]) {
    const problem = file === "" ? undefined : fileProblem(file, now);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function fileProblem(file: string, now: Date): string | undefined {
  try {
    const certificate = new X509Certificate(readFileSync(file));
    const problem = dateProblem(certificate, now);
    return problem && `the certificate ${certificateName(certificate)} in ${file} ${problem}: renew it where it was made`;
  } catch (thrown) {
    return `the certificate in ${file} cannot be read: ${errorMessage(thrown)}`;
  }
}

function serverProblem(socket: TLSSocket, server: string, now: Date): string | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined || socket.authorized) return undefined;
  const name = certificateName(certificate);
  const problem = dateProblem(certificate, now);
  if (problem !== undefined) return `the certificate ${name} of ${server} ${problem}: ${RENEWAL}`;
  const why = socket.authorizationError instanceof Error ? socket.authorizationError.message : String(socket.authorizationError);
  return `the certificate ${name} of ${server} is refused (${why}): its authority must be among the client's, and the server name among its names`;
}

const RENEWAL =
  "the operator renews what it made (Secret hubble-server-certs, with enable-hubble-tls-auto; see its log), else renew it where it was made, and set clocks that are wrong";
