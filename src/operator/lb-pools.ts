import type { CiliumLoadBalancerIPPool } from "#k8s/types.ts";
import type { LabelSelectorObject } from "#labels/selector.ts";
import { addressFromBytes, addressToBytes, parseAddress } from "#types/addr.ts";
import { parsePrefix, prefixParts } from "#types/prefix.ts";

/** Addresses from `first` to `last` as numbers, both included. */
export interface AddressRange {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
}

/** Why a pool gives out nothing. `reason` is that of its condition `cilium.io/PoolConflict`. */
export interface Conflict {
  readonly reason: "cidr_overlap" | "invalid_block";
  readonly message: string;
}

/** A CiliumLoadBalancerIPPool, read. */
export interface Pool {
  readonly name: string;
  readonly ranges: readonly AddressRange[];
  readonly selector: LabelSelectorObject | undefined;
  readonly disabled: boolean;
  /** Undefined when it may give out addresses. */
  readonly conflict: Conflict | undefined;
}

interface Block {
  readonly cidr?: string;
  readonly start?: string;
  readonly stop?: string;
}

/** The pools by name. Of two that overlap the older one counts; a block that cannot be read makes its pool useless, and says so. */
export function readPools(objects: Iterable<CiliumLoadBalancerIPPool>): Pool[] {
  const age = ({ metadata }: CiliumLoadBalancerIPPool) => `${metadata.creationTimestamp ?? ""} ${metadata.name}`;
  const pools: Pool[] = [];
  for (const object of [...objects].sort((a, b) => (age(a) < age(b) ? -1 : 1))) {
    const { blocks = [], serviceSelector, disabled = false, allowFirstLastIPs } = object.spec ?? {};
    const read = blocks.map((block) => ({ block, range: rangeOf(block, allowFirstLastIPs === "No") }));
    const ranges = read.flatMap(({ range }) => range ?? []);
    const bad = read.find(({ range }) => range === undefined)?.block;
    const rival = pools.find((pool) => pool.ranges.some((a) => ranges.some((b) => overlap(a, b))));
    const conflict = bad ? invalidBlock(bad) : overlapWith(rival, ranges);
    pools.push({ name: object.metadata.name, ranges, selector: serviceSelector, disabled, conflict });
  }
  return pools.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function invalidBlock(block: Block): Conflict {
  const fix = "give a cidr, or start and stop of one family, stop not below start";
  return { reason: "invalid_block", message: `block ${JSON.stringify(block)} is no address range: ${fix}` };
}

function overlapWith(rival: Pool | undefined, ranges: readonly AddressRange[]): Conflict | undefined {
  if (rival) return { reason: "cidr_overlap", message: `it has addresses of pool ${rival.name}` };
  const inside = ranges.some((a, i) => ranges.slice(i + 1).some((b) => overlap(a, b)));
  return inside ? { reason: "cidr_overlap", message: "its own blocks overlap" } : undefined;
}

function rangeOf(block: Block, withoutEnds: boolean): AddressRange | undefined {
  if (block.cidr !== undefined) {
    const prefix = parsePrefix(block.cidr);
    if (prefix === undefined) return undefined;
    const { address, bits, family } = prefixParts(prefix);
    const first = parseNumber(address) ?? 0n;
    const last = first + (1n << BigInt((family === 4 ? 32 : 128) - bits)) - 1n;
    return withoutEnds && last - first > 1n ? { family, first: first + 1n, last: last - 1n } : { family, first, last };
  }
  const [start, stop] = [block.start, block.stop ?? block.start].map((text) => (text === undefined ? undefined : parseAddress(text)));
  if (start === undefined || stop === undefined || start.includes(":") !== stop.includes(":")) return undefined;
  const [first = 0n, last = 0n] = [parseNumber(start), parseNumber(stop)];
  return first <= last ? { family: start.includes(":") ? 6 : 4, first, last } : undefined;
}

function overlap(a: AddressRange, b: AddressRange): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

/** An address as a number of its family; undefined when it is none. */
export function parseNumber(text: string): bigint | undefined {
  const address = parseAddress(text);
  if (address === undefined) return undefined;
  const bytes = addressToBytes(address);
  return BigInt(`0x${Buffer.from(address.includes(":") ? bytes : bytes.subarray(12)).toString("hex")}`);
}

export function formatNumber(number: bigint, family: 4 | 6): string {
  const size = family === 4 ? 4 : 16;
  return addressFromBytes(Buffer.from(number.toString(16).padStart(2 * size, "0"), "hex"));
}
