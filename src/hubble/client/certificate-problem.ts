import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { TLSSocket } from "node:tls";
import { errorMessage } from "#runtime/errors.ts";
import { formatSocketAddress, parseSocketAddress } from "../server/address.ts";
import { certificateName, dateProblem } from "../server/certificate-dates.ts";
import { shakeHands } from "./handshake.ts";
import type { TlsOptions } from "./transport.ts";

/**
 * Why TLS keeps a client from a server: certificates of ours, of the authorities or the server's, with name, date and what to do; or that the
 * server wants none of it. Undefined when that is not the reason, or nobody answers. Asks the server once more; never rejects.
 */
export async function certificateProblem(server: string, tls: TlsOptions, now = new Date()): Promise<string | undefined> {
  const own = ownCertificateProblem(tls, now);
  if (own !== undefined) return own;
  const name = formatSocketAddress(parseSocketAddress(server));
  const handshake = await shakeHands(server, tls, (socket) => serverProblem(socket, name, now));
  switch (handshake.kind) {
    case "judged":
      return handshake.problem;
    case "clear-text":
      return `${name} does not speak TLS: ask it in clear text, without --tls and tls://`;
    case "refused":
      return tls.certFile ? `${name} refuses the client's certificate ${tls.certFile}: ${TRUST}` : `${name} ${NEEDS_CERTIFICATE}`;
    default:
      return undefined;
  }
}

/** Why a server does not answer in clear text: it wants TLS. Undefined when that is not the reason. Asks the server once more; never rejects. */
export async function clearTextProblem(server: string): Promise<string | undefined> {
  const address = parseSocketAddress(server);
  if ("path" in address) return undefined;
  const { kind } = await shakeHands(server, {}, () => "it speaks TLS");
  if (kind !== "judged" && kind !== "refused" && kind !== "failed") return undefined;
  return `${formatSocketAddress(address)} speaks TLS: add --tls, and --tls-ca-cert-files with the authority of its certificate`;
}

const TRUST = "an authority that the server trusts must have signed it, for clients";
const NEEDS_CERTIFICATE = `wants a certificate of its clients: give one with --tls-client-cert-file and --tls-client-key-file; ${TRUST}`;

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
