import { type FqdnSelector, fqdnLabelKey } from "#fqdn/pattern.ts";
import { type Label, label, labelSource } from "#labels/label.ts";
import { type LabelSet, labelSetOf } from "#labels/label-set.ts";
import { type Prefix, parsePrefix, prefixParts } from "#types/prefix.ts";

/** Which address families the cluster uses: with both, the world is split in two. */
export type Families = { readonly ipv4: boolean; readonly ipv6: boolean };

/** The label that says "outside" for an address of a family. */
export function worldLabel(family: 4 | 6, families: Families): Label {
  const split = families.ipv4 && families.ipv6;
  return label(split ? `world-ipv${family}` : "world", "", labelSource.reserved);
}

/** The label of an address block: `cidr:10.0.0.0/8`; `-` stands for `:` in IPv6, as a label key may not hold one. */
export function cidrLabel(prefix: Prefix): Label {
  const { address, bits } = prefixParts(prefix);
  let text = address.replaceAll(":", "-");
  // A label key may neither begin nor end with a dash.
  if (text.startsWith("-")) text = `0${text}`;
  if (text.endsWith("-")) text = `${text}0`;
  return label(`${text}/${bits}`, "", labelSource.cidr);
}

/** The address block that a `cidr:` label stands for; undefined for any other label. */
export function prefixOfLabel(one: Label): Prefix | undefined {
  return one.source === labelSource.cidr ? parsePrefix(one.key.includes("-") ? one.key.replaceAll("-", ":") : one.key) : undefined;
}

/** The labels of an address block outside; a zero-length one is the world itself. `extra` adds more (CIDR groups, `reserved:kube-apiserver`). */
export function cidrLabels(prefix: Prefix, families: Families, extra: readonly Label[] = []): LabelSet {
  const { bits, family } = prefixParts(prefix);
  const own = bits === 0 ? [] : [cidrLabel(prefix)];
  return labelSetOf([...own, worldLabel(family, families), ...extra]);
}

/** The labels of an address learned by name: one `fqdn:` label for each selector that took it. */
export function fqdnLabels(selectors: readonly FqdnSelector[], family: 4 | 6, families: Families): LabelSet {
  return labelSetOf([...selectors.map((one) => label(fqdnLabelKey(one), "", labelSource.fqdn)), worldLabel(family, families)]);
}

/** The labels that an address block gets from a CIDR group: its name, and the group's own labels as `key` and `key+value`. */
export function cidrGroupLabels(name: string, groupLabels: Readonly<Record<string, string>>): Label[] {
  const of = (key: string) => label(key, "", labelSource.cidrGroup);
  return [
    of(`io.cilium.policy.cidrgroupname/${name}`),
    ...Object.entries(groupLabels).flatMap(([key, value]) => [of(key), of(`${key}+${value}`)]),
  ];
}

/** A CIDR group: its own labels, and the blocks that carry them. */
export type CidrGroup = { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly prefixes: readonly Prefix[] };

/**
 * The blocks that need an identity, each with the labels it has besides its own: those that rules name, those of groups, and API servers outside the
 * cluster. A block of length zero without more labels is left out: it is the world, which the datapath assumes of whatever it does not know.
 */
export function labelledPrefixes(
  named: Iterable<Prefix>,
  groups: readonly CidrGroup[],
  apiServers: readonly Prefix[],
): readonly (readonly [Prefix, readonly Label[]])[] {
  const extra = new Map<Prefix, Label[]>(Array.from(named, (prefix) => [prefix, []]));
  const add = (prefix: Prefix, labels: readonly Label[]) => extra.set(prefix, [...(extra.get(prefix) ?? []), ...labels]);
  for (const { name, labels, prefixes } of groups) for (const prefix of prefixes) add(prefix, cidrGroupLabels(name, labels));
  for (const prefix of apiServers) add(prefix, [label("kube-apiserver", "", labelSource.reserved)]);
  return [...extra].filter(([prefix, labels]) => prefixParts(prefix).bits > 0 || labels.length > 0);
}
