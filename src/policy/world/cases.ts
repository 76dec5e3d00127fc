import { type FqdnSelector, fqdnLabelKey, normalizeName } from "#fqdn/pattern.ts";
import type { IpAddress } from "#types/addr.ts";
import { prefixContains } from "#types/prefix.ts";
import { namedBlocks, type OutsideParty, outsideParty, sampleName } from "./outside.ts";
import type { Party } from "./party.ts";
import type { World } from "./world.ts";

/** What a pod got for a name, as an agent's DNS cache has it. */
export type Lookup = { readonly pod: string; readonly name: string; readonly addresses: readonly IpAddress[] };

/** Who is meant, once for each answer; with what decides which it is. */
export type Cases = { readonly parties: readonly Party[]; readonly notes: readonly string[] };

type Question = {
  readonly world: World;
  readonly from: Party & { readonly kind: "pod" };
  readonly to: OutsideParty;
  /** What is answered, as a text; equal for parties that need not be told apart. */
  readonly answerFor: (to: Party) => string;
};

/**
 * What a question about somebody outside leaves open: which address a name has, which names an address has, where in a block. `lookups` are what pods
 * have resolved; undefined where nobody could be asked. What does not change the answer is not told apart.
 */
export function casesOf(
  world: World,
  from: Party,
  to: Party,
  lookups: readonly Lookup[] | undefined,
  answerFor: (to: Party) => string,
): Cases {
  if (from.kind !== "pod" || to.kind !== "outside") return { parties: [to], notes: [] };
  const question = { world, from, to, answerFor };
  if (to.name !== undefined) return casesOfName(question, to.name, lookups ?? []);
  if (to.address !== undefined) return casesOfAddress(question, to.address, lookups);
  return casesOfBlock(question);
}

function casesOfName(question: Question, name: string, lookups: readonly Lookup[]): Cases {
  const { world, from, to } = question;
  const isNamed = outsideParty(world, "", { name }).identity !== outsideParty(world, "", {}).identity;
  const taken = isNamed ? [] : [`no toFQDNs rule takes the name ${name}: its addresses are ordinary ones outside`];
  const known = lookups.filter((one) => normalizeName(one.name) === normalizeName(name));
  const own = known.filter(({ pod }) => isOf(from, pod));
  const used = own.length > 0 ? own : known;
  const addresses = [...new Set(used.flatMap((one) => one.addresses))].sort();
  if (addresses.length === 0) {
    const parties = grouped(question, [to, ...elsewhere(question)], (texts) => `${name} at ${texts}`);
    const open = parties.length > 1 ? [`it depends on the address of ${name}: once that is known, ask with --to ADDRESS`] : [];
    return { parties, notes: [...taken, ...(isNamed ? ["taken as looked up by the pod itself"] : []), ...open] };
  }
  const parties = addresses.map((address) => outsideParty(world, address, { address, name, learned: namesOf(lookups, from, address) }));
  const who = own.length > 0 ? "" : `, and ${from.title} would have to look it up first`;
  const note = `${[...new Set(used.map(({ pod }) => pod))].sort()[0]} has resolved ${name} to ${addresses.join(", ")}${who}`;
  return { parties: grouped(question, parties, (texts) => `${name} (${texts})`), notes: [...taken, note] };
}

/** Where in the world a name's address may be: not where the rules say nothing, but in one of their blocks, or of the other family. */
function elsewhere({ world, to: { name } }: Question): OutsideParty[] {
  const { ipv4, ipv6 } = world.settings;
  return [
    ...(ipv4 && ipv6 ? [outsideParty(world, "an IPv6 address", { name, family: 6 })] : []),
    ...namedBlocks(world).map(({ prefix }) => outsideParty(world, `an address in ${prefix}`, { name, prefix })),
  ];
}

function casesOfAddress(question: Question, address: IpAddress, lookups: readonly Lookup[] | undefined): Cases {
  const { world, from, to, answerFor } = question;
  if (lookups === undefined) {
    const named = selectorsOf(world, from).map((one) =>
      outsideParty(world, `a looked up address of ${fqdnLabelKey(one)}`, { address, learned: [sampleName(one)] }),
    );
    const parties = grouped(question, [to, ...named], (texts) => `${address} as ${texts}`);
    const open = parties.length > 1 ? [`it depends on whether ${from.title} has looked up a name that has the address ${address}`] : [];
    return { parties, notes: open };
  }
  const learned = namesOf(lookups, from, address);
  if (learned.length > 0) {
    const note = `${from.title} has looked up ${learned.join(", ")}, which has the address ${address}`;
    return { parties: [outsideParty(world, to.title, { address, learned })], notes: [note] };
  }
  const others = [...new Set(lookups.filter((one) => one.addresses.includes(address)).map(({ name }) => name))].sort();
  const later = outsideParty(world, to.title, { address, learned: others });
  if (answerFor(later) === answerFor(to)) return { parties: [to], notes: [] };
  const why = `${address} is an address of ${others.join(", ")}, which ${from.title} has not looked up`;
  return { parties: [to], notes: [`${why}: a name opens its addresses to the pods that do`] };
}

/** The blocks within that rules name, and for the world, the other family. */
function casesOfBlock(question: Question): Cases {
  const { world, to } = question;
  const { prefix } = to;
  if (prefix === undefined) {
    const isWorld = to.identity === outsideParty(world, "", {}).identity;
    const parties = isWorld ? [to, outsideParty(world, "its IPv6 addresses", { family: 6 })] : [to];
    return { parties: grouped(question, parties, (texts) => `${to.title}: ${texts}`), notes: [] };
  }
  const within = namedBlocks(world).filter((one) => one.prefix !== prefix && prefixContains(prefix, one.prefix));
  const parties = within.map((one) => outsideParty(world, one.prefix, { prefix: one.prefix }));
  return { parties: grouped(question, [to, ...parties], (texts) => `${texts} in ${prefix}`), notes: [] };
}

/** Texts in a title; the rest is counted. */
const MOST = 4;

/** One party for each answer. The first that is asked for keeps its own title, unless it stands for more. */
function grouped({ to, answerFor }: Question, parties: readonly OutsideParty[], titled: (texts: string) => string): OutsideParty[] {
  return [...Map.groupBy(parties, answerFor).values()].map((alike) => {
    const [first] = alike as [OutsideParty, ...OutsideParty[]];
    if (first === to) return to;
    const texts = alike.slice(0, MOST).map(({ title }) => title);
    const more = alike.length > MOST ? [`${alike.length - MOST} more`] : [];
    const also = alike.slice(1).flatMap(({ address }) => address ?? []);
    return { ...first, title: titled([...texts, ...more].join(", ")), ...(also.length === 0 ? {} : { also }) };
  });
}

function isOf(from: Question["from"], pod: string): boolean {
  return from.pods.some((one) => `${one.namespace}/${one.name}` === pod);
}

/** The names by which a party's pods know an address. */
function namesOf(lookups: readonly Lookup[], from: Question["from"], address: IpAddress): string[] {
  const known = lookups.filter(({ pod, addresses }) => isOf(from, pod) && addresses.includes(address));
  return [...new Set(known.map(({ name }) => name))].sort();
}

/** The names in the rules for what a party sends. */
function selectorsOf(world: World, from: Question["from"]): FqdnSelector[] {
  return world.policyOf(from.subject).egress.filters.flatMap(({ peer }) => peer.fqdn ?? []);
}
