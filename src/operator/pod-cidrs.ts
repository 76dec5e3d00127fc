import { addressFromBytes, addressToBytes } from "#types/addr.ts";
import { type Prefix, prefixContains, prefixOf, prefixParts } from "#types/prefix.ts";

/** Blocks handed out to nodes, one of each pool. */
export interface PodCidrs {
  /** The node's blocks, new ones when it has none; undefined when a pool is exhausted. Asking again gives the same. */
  allocate(node: string): readonly Prefix[] | undefined;
  /** The node already has these (from an earlier operator): they are never given to another. False when another node has one. */
  occupy(node: string, blocks: readonly Prefix[]): boolean;
  /** Gives a deleted node's blocks back. */
  release(node: string): void;
}

/** One pool of an address family: `cidr` is cut into blocks of `bits` leading bits. */
export interface CidrPool {
  readonly cidr: Prefix;
  readonly bits: number;
}

/** Allocates blocks in order of their address, the lowest free one first. Pure. */
export function createPodCidrs(pools: readonly CidrPool[]): PodCidrs {
  const owners = new Map<Prefix, string>();
  const byNode = new Map<string, readonly Prefix[]>();
  return {
    allocate(node) {
      const have = byNode.get(node);
      if (have) return have;
      const blocks = pools.map((pool) => firstFree(pool, owners));
      if (!blocks.every((block) => block !== undefined)) return undefined;
      for (const block of blocks) owners.set(block, node);
      byNode.set(node, blocks);
      return blocks;
    },
    occupy(node, blocks) {
      if (blocks.some((block) => (owners.get(block) ?? node) !== node)) return false;
      for (const block of blocks) owners.set(block, node);
      byNode.set(node, blocks);
      return true;
    },
    release(node) {
      for (const block of byNode.get(node) ?? []) owners.delete(block);
      byNode.delete(node);
    },
  };
}

function firstFree(pool: CidrPool, owners: ReadonlyMap<Prefix, string>): Prefix | undefined {
  const taken = [...owners.keys()].filter((block) => prefixContains(pool.cidr, block));
  // With n blocks taken one of the first n+1 must be free, unless blocks of another size overlap.
  for (let index = 0n; index <= BigInt(2 * taken.length) + 1n; index += 1n) {
    const block = nthBlock(pool, index);
    if (block === undefined) return undefined;
    if (!taken.some((other) => prefixContains(other, block) || prefixContains(block, other))) return block;
  }
  return undefined;
}

function nthBlock(pool: CidrPool, index: bigint): Prefix | undefined {
  const { address, bits, family } = prefixParts(pool.cidr);
  const width = family === 4 ? 32 : 128;
  if (index >= 1n << BigInt(pool.bits - bits)) return undefined;
  const base = BigInt(`0x${Buffer.from(addressToBytes(address)).toString("hex")}`);
  const start = base + (index << BigInt(width - pool.bits));
  const bytes = Buffer.from(start.toString(16).padStart(32, "0"), "hex");
  return prefixOf(addressFromBytes(bytes), pool.bits);
}
