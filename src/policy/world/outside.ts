import { type FqdnSelector, fqdnLabelKey, fqdnMatcher, normalizeName } from "#fqdn/pattern.ts";
import { worldLabel } from "#identity/cidr.ts";
import { label, labelSource } from "#labels/label.ts";
import { labelSetOf } from "#labels/label-set.ts";
import type { IpAddress } from "#types/addr.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { hostPrefix, type Prefix, prefixContains, prefixParts } from "#types/prefix.ts";
import type { Party } from "./party.ts";
import type { World } from "./world.ts";

/** What is known of somebody outside the cluster. Without any of it, it is the rest of the world. */
export type Whereabouts = {
  readonly address?: IpAddress | undefined;
  /** More addresses, for which all is as for that one. */
  readonly also?: readonly IpAddress[] | undefined;
  /** The block that it is somewhere in. */
  readonly prefix?: Prefix | undefined;
  /** The name that it is asked for by, and looked up by. */
  readonly name?: string | undefined;
  /** More names by which whoever sends has learned the address. */
  readonly learned?: readonly string[] | undefined;
  /** Where there is neither address nor block. */
  readonly family?: 4 | 6 | undefined;
};

export type OutsideParty = Extract<Party, { readonly kind: "outside" }>;

/** Somebody outside, with the identity that the datapath sees: what blocks its address is in, and what names it was learned by. */
export function outsideParty(world: World, title: string, where: Whereabouts): OutsideParty {
  return { kind: "outside", title, ...where, identity: identityOf(world, where) };
}

/** The blocks that stand for a party in CIDR rules: its addresses, or where it is; none for one of which only a name is known. */
export function blocksOf({ address, also = [], prefix }: Whereabouts): Prefix[] {
  if (prefix !== undefined) return [prefix];
  return address === undefined ? [] : [address, ...also].map(hostPrefix);
}

/** The family of its addresses; IPv4 where nobody knows. */
export function familyOutside(where: Whereabouts): 4 | 6 {
  const [block] = blocksOf(where);
  return block === undefined ? (where.family ?? 4) : prefixParts(block).family;
}

/** Selectors of names select by the labels that they put on an address, beside those of its block. */
function identityOf(world: World, where: Whereabouts): NumericIdentity {
  const [block] = blocksOf(where);
  const own = block === undefined ? worldIdentity(world, where.family) : identityOfBlock(world, block);
  const names = [where.name ?? [], where.learned ?? []].flat().map(normalizeName);
  const selectors = names.length === 0 ? [] : world.repo.fqdns().filter((one) => names.some(fqdnMatcher(one)));
  if (selectors.length === 0) return own;
  const labels = world.cache.labels(own)?.labels ?? [];
  return world.identityFor(labelSetOf([...labels, ...selectors.map((one) => label(fqdnLabelKey(one), "", labelSource.fqdn))]));
}

/** The identity that the datapath gives an address: that of the longest block that a rule or a group names, else the world's. */
function identityOfBlock(world: World, block: Prefix): NumericIdentity {
  let best: { readonly id: NumericIdentity; readonly bits: number } | undefined;
  for (const { id, prefix } of namedBlocks(world)) {
    if (!prefixContains(prefix, block)) continue;
    const { bits } = prefixParts(prefix);
    if (best === undefined || bits > best.bits) best = { id, bits };
  }
  return best?.id ?? worldIdentity(world, prefixParts(block).family);
}

/** The blocks that rules and groups name, and those of API servers outside. */
export function namedBlocks({ cache }: World): { readonly id: NumericIdentity; readonly prefix: Prefix }[] {
  return [...cache.identities()].flatMap((id) => {
    const prefix = cache.prefix(id);
    const isOwn = prefix !== undefined && cache.labels(id)?.labels.some(({ source }) => source === labelSource.fqdn) !== true;
    return isOwn ? [{ id, prefix }] : [];
  });
}

/** The identity of what nobody knows anything about. */
export function worldIdentity({ settings }: World, family: 4 | 6 = 4): NumericIdentity {
  const { key } = worldLabel(family, settings);
  if (key === "world") return reservedIdentity.world;
  return family === 4 ? reservedIdentity.worldIpv4 : reservedIdentity.worldIpv6;
}

/** A name that stands for all that a selector takes. */
export function sampleName({ matchName, matchPattern }: FqdnSelector): string {
  return matchName || (matchPattern ?? "").replace(/^\*+$/, "any.example").replaceAll(/\*+/g, "any");
}
