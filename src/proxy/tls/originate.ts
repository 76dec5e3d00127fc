import { isIP, type Socket } from "node:net";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import type { TlsContext } from "../protocol.ts";

/**
 * Calls the server by TLS. `name` (host with or without port) is asked for and must be in the server's certificate; without one, an address
 * say, the certificate must still be signed by the trusted authority. `protocols` are offered, by their names in ALPN. Throws when the Secret is unknown:
 * nothing is sent in the clear.
 */
export function originate(dial: () => Socket, context: TlsContext, name: string, protocols: readonly string[]): TLSSocket {
  if (context === null) throw Object.assign(new Error("the Secret of originatingTLS is unknown"), { code: "ESECRET" });
  const host = name.replace(/:[0-9]*$/, "");
  const named = host !== "" && isIP(host.replace(/^\[|\]$/g, "")) === 0;
  const { certificate, privateKey, trustedCa } = context;
  // `allowHalfOpen` is taken by Node, but not in the type of the options.
  const options: ConnectionOptions & { readonly allowHalfOpen: boolean } = {
    socket: dial(),
    allowHalfOpen: true,
    ALPNProtocols: [...protocols],
    ...(named ? { servername: host } : { checkServerIdentity: () => undefined }),
    ...(trustedCa === undefined ? {} : { ca: trustedCa }),
    ...(certificate === undefined || privateKey === undefined ? {} : { cert: certificate, key: privateKey }),
  };
  const server = connect(options);
  if (!protocols.includes("http/1.1")) server.once("secureConnect", () => requireHttp2(server));
  return server;
}

/** Frames of HTTP/2 would be nonsense to who has not agreed to them. */
function requireHttp2(server: TLSSocket): void {
  if (server.alpnProtocol !== "h2") server.destroy(Object.assign(new Error("the server does not speak HTTP/2"), { code: "EPROTO" }));
}
