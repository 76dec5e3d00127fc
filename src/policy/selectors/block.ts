import { type Prefix, prefixParts, prefixToBytes, sameBits } from "#types/prefix.ts";
import type { PeerSelector } from "../rule.ts";

/** An address block as it is compared: its bytes are taken out of the text once. */
export type Block = { readonly bytes: Uint8Array; readonly bits: number; readonly family: 4 | 6 };

/** The comparable form of a prefix. */
export function blockOf(prefix: Prefix): Block {
  return { ...prefixToBytes(prefix), family: prefixParts(prefix).family };
}

type PeerBlocks = { readonly within: Block | undefined; readonly except: readonly Block[] };

/** The blocks of selectors that were compared before; they go with their selector. */
const blocksOfPeers = new WeakMap<PeerSelector, PeerBlocks>();

function blocksOf(peer: PeerSelector): PeerBlocks {
  const known = blocksOfPeers.get(peer);
  if (known !== undefined) return known;
  const blocks = { within: peer.within === undefined ? undefined : blockOf(peer.within), except: peer.except.map(blockOf) };
  blocksOfPeers.set(peer, blocks);
  return blocks;
}

function contains(outer: Block, inner: Block): boolean {
  return outer.family === inner.family && outer.bits <= inner.bits && sameBits(outer.bytes, inner.bytes, outer.bits);
}

/** Whether an address block lies where the peers' do, outside of all exceptions. */
export function fitsBlocks(peer: PeerSelector, block: Block | undefined): boolean {
  if (peer.within === undefined && peer.except.length === 0) return true;
  const { within, except } = blocksOf(peer);
  if (within !== undefined && (block === undefined || !contains(within, block))) return false;
  return block === undefined || !except.some((one) => contains(one, block));
}
