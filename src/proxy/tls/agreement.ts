import type { TLSSocket } from "node:tls";

/** What may be spoken inside TLS, by its name in ALPN (RFC 7301). */
export type HttpProtocol = "h2" | "http/1.1";

/** What client and server will speak, and the connection to the server when one was made to find out. */
export interface Agreement {
  readonly protocol: HttpProtocol;
  readonly server: TLSSocket | undefined;
}

/** What is spoken where no server can be asked: HTTP/1.1, which all know, unless the client knows HTTP/2 alone, as gRPC does. */
export function protocolUnasked(offered: readonly string[]): HttpProtocol {
  return offered.includes("h2") && !offered.includes("http/1.1") ? "h2" : "http/1.1";
}

/**
 * Waits for what the server chooses of the client's offer, `offered`: frames of HTTP/2 are passed on as they are, so both sides must speak the same. `done` is
 * called once, without a server when none has answered in `timeout` milliseconds or somebody has closed the connection.
 */
export function awaitAgreement(server: TLSSocket, offered: readonly string[], timeout: number, done: (agreed: Agreement) => void): void {
  const settle = (agreed: Agreement) => {
    server.setTimeout(0);
    server.off("timeout", onFailure).off("close", onFailure).off("secureConnect", onConnect);
    done(agreed);
  };
  const onConnect = () => settle({ protocol: server.alpnProtocol === "h2" ? "h2" : "http/1.1", server });
  const onFailure = () => {
    settle({ protocol: protocolUnasked(offered), server: undefined });
    server.destroy();
  };
  server.setTimeout(timeout);
  server.on("timeout", onFailure).on("close", onFailure).on("secureConnect", onConnect);
  // `close` follows, now or when the connection breaks before anybody uses it.
  server.on("error", () => undefined);
}
