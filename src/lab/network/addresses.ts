/** The world's router, and what is outside the cluster. Nothing of it leaves the machine. */
export const WORLD = {
  gateway: "172.18.0.1",
  gatewayV6: "fd00:172:18::1",
  prefix: "198.51.100.0/24",
  resolver: "198.51.100.53",
} as const;

export const UNDERLAY_BITS = { v4: 24, v6: 64 } as const;

/** Names outside the cluster, each with an address of its own: HTTP on 80, TLS on 443. */
const OUTSIDE = [
  "one.one.one.one",
  "api.stripe.com",
  "api.paypal.com",
  "s3.amazonaws.com",
  "api.example.com",
  "www.example.org",
  "google.com",
  "www.google.com",
  "example.com",
  "www.example.com",
  "example.org",
  "cilium.io",
  "kubernetes.io",
  "github.com",
  "api.github.com",
  "httpbin.org",
  "evil.example.net",
] as const;

const FIRST_HOST = 10;

/** The resolver's own name, for rules about name servers by name. */
const RESOLVER_NAME = "dns.example.net";

/** Name → IPv4 address of everything outside. */
export const OUTSIDE_NAMES: ReadonlyMap<string, string> = new Map([
  ...OUTSIDE.map((name, index) => [name, `198.51.100.${FIRST_HOST + index}`] as const),
  [RESOLVER_NAME, WORLD.resolver],
]);

// The guides reach 1.1.1.1 by its address; it is there, but its name has an address of the world's own prefix.
const EXTRA_ADDRESSES = ["1.1.1.1", "1.0.0.1"];

/** Every IPv4 address that the world answers at. */
export const WORLD_ADDRESSES: readonly string[] = [...OUTSIDE_NAMES.values(), ...EXTRA_ADDRESSES];

/** The IPv6 address of a world host with this IPv4 address, from the documentation prefix. */
export function worldIpv6(ipv4: string): string {
  return `2001:db8:100::${Number(ipv4.split(".")[3]).toString(16)}`;
}

/** Every IPv6 address that the world answers at. */
export const WORLD_ADDRESSES_V6: readonly string[] = [...OUTSIDE_NAMES.values()].map(worldIpv6);
