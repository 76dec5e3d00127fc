import type { Socket } from "node:net";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import type { TlsMaterial } from "../protocol.ts";
import type { HttpProtocol } from "./agreement.ts";

const contexts = new WeakMap<TlsMaterial, SecureContext | Error>();

/**
 * Answers the client's TLS in the server's name. Its first message must still be in the socket's buffer. Returns what is inside as a socket,
 * or an error when the certificate and key of the Secret are no pair. A client that can speak other protocols only is refused in the handshake.
 */
export function terminate(client: Socket, material: TlsMaterial, protocol: HttpProtocol): TLSSocket | Error {
  const secureContext = contextOf(material);
  if (secureContext instanceof Error) return secureContext;
  return new TLSSocket(client, { isServer: true, secureContext, ALPNProtocols: [protocol] });
}

function contextOf(material: TlsMaterial): SecureContext | Error {
  let found = contexts.get(material);
  if (found === undefined) {
    found = makeContext(material);
    contexts.set(material, found);
  }
  return found;
}

function makeContext({ certificate, privateKey }: TlsMaterial): SecureContext | Error {
  if (certificate === undefined || privateKey === undefined) return new Error("the Secret of terminatingTLS has no certificate and key");
  try {
    return createSecureContext({ cert: certificate, key: privateKey });
  } catch {
    // OpenSSL's own words could quote the key.
    return new Error("the certificate and key of terminatingTLS cannot be used together");
  }
}
