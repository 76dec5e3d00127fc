/** Where a server listens or a client connects: a TCP address or a Unix socket. */
export type SocketAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * Reads `host:port`, `:port`, `[::1]:port`, `unix:///path` and `tls://host:port` (the scheme is dropped). Throws RangeError naming
 * the text.
 */
export function parseSocketAddress(text: string): SocketAddress {
  if (text.startsWith("unix:")) return { path: text.slice("unix:".length).replace(/^\/\/(?=\/)/, "") };
  const bare = text.replace(/^(tls|dns|tcp):(\/\/)?/, "");
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(bare);
  const port = Number(match?.[3]);
  if (match === null || port > 65535) throw new RangeError(`address "${text}": expected host:port or unix:///path`);
  return { host: match[1] ?? match[2] ?? "", port };
}

/** The address as text: `127.0.0.1:4245`, `[::1]:4245`, `unix:///run/x.sock`. */
export function formatSocketAddress(address: SocketAddress): string {
  if ("path" in address) return `unix://${address.path}`;
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
