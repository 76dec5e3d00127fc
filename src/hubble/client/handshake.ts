import { connect, type TLSSocket } from "node:tls";
import { parseSocketAddress } from "../server/address.ts";
import { type TlsOptions, tlsOptions } from "./transport.ts";

/** How a server took a TLS handshake of a client that accepts any certificate. */
export type Handshake =
  /** The server spoke. */
  | { readonly kind: "accepted" }
  /** What was asked of the server's certificate was answered. */
  | { readonly kind: "judged"; readonly problem: string }
  /** The server answered, but not in TLS. */
  | { readonly kind: "clear-text" }
  /** The server wants a certificate that it trusts. */
  | { readonly kind: "refused" }
  /** The server speaks TLS, and ended the handshake for another reason: it has no certificate itself, or the versions differ. */
  | { readonly kind: "failed" }
  /** Nobody answered, or nothing that tells. */
  | { readonly kind: "unknown" };

const PROBE_MS = 3000;
const UNKNOWN: Handshake = { kind: "unknown" };
/** How OpenSSL calls bytes that are no TLS. */
const NO_TLS: ReadonlySet<string> = new Set(["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG"]);

/**
 * Shakes hands with `server` once. `judge` finds what is wrong with its certificate, undefined for nothing. Never rejects for what the network
 * does; throws the file system's error for a file that is not there.
 */
export async function shakeHands(server: string, tls: TlsOptions, judge: (socket: TLSSocket) => string | undefined): Promise<Handshake> {
  const address = parseSocketAddress(server);
  const target = "path" in address ? { path: address.path } : { host: address.host || "localhost", port: address.port };
  const socket = connect({ ...target, ...tlsOptions(tls, address), rejectUnauthorized: false });
  let secure = false;
  try {
    return await new Promise<Handshake>((resolve) => {
      socket.setTimeout(PROBE_MS, () => resolve(UNKNOWN));
      socket.once("secureConnect", () => {
        secure = true;
        const problem = judge(socket);
        if (problem !== undefined) resolve({ kind: "judged", problem });
      });
      // A server of HTTP/2 speaks first. With TLS 1.3 it refuses a client's certificate only after the client's end of the handshake.
      socket.once("data", () => resolve({ kind: "accepted" }));
      socket.once("error", (error: NodeJS.ErrnoException) => resolve(failure(error.code ?? "")));
      // Node's own servers refuse a certificate without a word.
      socket.once("close", () => resolve(secure && tls.certFile ? { kind: "refused" } : UNKNOWN));
    });
  } finally {
    socket.destroy();
  }
}

function failure(code: string): Handshake {
  if (NO_TLS.has(code)) return { kind: "clear-text" };
  if (/_ALERT_.*(CERTIFICATE|UNKNOWN_CA)/.test(code)) return { kind: "refused" };
  return code.includes("_ALERT_") ? { kind: "failed" } : UNKNOWN;
}
