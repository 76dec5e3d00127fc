import { isIP, type Socket } from "node:net";
import { type ConnectionOptions, connect } from "node:tls";
import type { TlsContext } from "../protocol.ts";

/**
 * Calls the server by TLS. `name` (host with or without port) is asked for and must be in the server's certificate; without one, an address
 * say, the certificate must still be signed by the trusted authority. Throws when the Secret is unknown: nothing is sent in the clear.
 */
export function originate(dial: () => Socket, context: TlsContext, name: string): Socket {
  if (context === null) throw Object.assign(new Error("the Secret of originatingTLS is unknown"), { code: "ESECRET" });
  const host = name.replace(/:[0-9]*$/, "");
  const named = host !== "" && isIP(host.replace(/^\[|\]$/g, "")) === 0;
  const { certificate, privateKey, trustedCa } = context;
  // `allowHalfOpen` is taken by Node, but not in the type of the options.
  const options: ConnectionOptions & { readonly allowHalfOpen: boolean } = {
    socket: dial(),
    allowHalfOpen: true,
    ALPNProtocols: ["http/1.1"],
    ...(named ? { servername: host } : { checkServerIdentity: () => undefined }),
    ...(trustedCa === undefined ? {} : { ca: trustedCa }),
    ...(certificate === undefined || privateKey === undefined ? {} : { cert: certificate, key: privateKey }),
  };
  return connect(options);
}
