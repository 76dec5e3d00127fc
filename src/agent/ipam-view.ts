import type { Pool } from "#ipam/pool.ts";

/** The pools as upstream's IPAM status. */
export function formatIpam(pools: readonly Pool[]): {
  readonly ipv4: readonly string[];
  readonly ipv6: readonly string[];
  readonly allocations: Readonly<Record<string, string>>;
  readonly capacity: number;
  readonly status: string;
} {
  const isIpv6 = (pool: Pool) => pool.prefixes[0]?.includes(":") === true;
  const addresses = (wanted: boolean) => pools.filter((pool) => isIpv6(pool) === wanted).flatMap((pool) => [...pool.owners().keys()]);
  const router = (pool: Pool): [string, string][] => (pool.router ? [[pool.router, "router"]] : []);
  return {
    ipv4: addresses(false),
    ipv6: addresses(true),
    allocations: Object.fromEntries(pools.flatMap((pool) => [...router(pool), ...pool.owners()])),
    capacity: pools.reduce((sum, pool) => sum + pool.capacity, 0),
    status: pools
      .map((pool) => `${isIpv6(pool) ? "IPv6" : "IPv4"}: ${pool.owners().size}/${pool.capacity} allocated from ${pool.prefixes.join(", ")}`)
      .join(", "),
  };
}
