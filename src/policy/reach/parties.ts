import { fqdnLabelKey } from "#fqdn/pattern.ts";
import { reservedIdentity } from "#types/identity.ts";
import { prefixParts } from "#types/prefix.ts";
import { namedBlocks, outsideParty, sampleName } from "../world/outside.ts";
import { type Party, podParties } from "../world/party.ts";
import type { World } from "../world/world.ts";

/** Everybody whom the policies of these worlds tell apart: workloads, nodes, blocks, names and the rest of the world. The pods are the first world's. */
export function partiesOf(world: World, ...others: readonly World[]): Party[] {
  const worlds = [world, ...others];
  return [...workloads(world), ...nodes, ...outside(world, worlds)];
}

/** Whether it makes sense to ask what one may send to the other: policies stand at pods (and nodes), and names are looked up to send there. */
export function isPair({ settings }: World, from: Party, to: Party): boolean {
  if (from.kind === "outside" && from.name !== undefined) return false;
  const guarded = settings.hostFirewall ? ["pod", "node"] : ["pod"];
  return guarded.includes(from.kind) || guarded.includes(to.kind);
}

/** A workload is one party; where its pods differ for policies it is as many, told apart by their labels. */
function workloads(world: World): Party[] {
  const parties = podParties(world.endpoints);
  const titleOf = (party: Party & { readonly kind: "pod" }) => `${party.pods[0]?.namespace}/${party.pods[0]?.workload.name}`;
  const pods = parties.filter((one) => one.kind === "pod").sort((a, b) => titleOf(a).localeCompare(titleOf(b), "en", { numeric: true }));
  return [...Map.groupBy(pods, titleOf)].flatMap(([title, alike]) =>
    alike.length === 1
      ? alike.map((one): Party => ({ ...one, title }))
      : alike.map((one): Party => ({ ...one, title: `${title} [${ownOf(one, alike)}]` })),
  );
}

/** The labels that not all of these have; where it is not the labels that differ, the kind or the first pod's name. */
function ownOf(party: Party & { readonly kind: "pod" }, alike: readonly (Party & { readonly kind: "pod" })[]): string {
  const shared = (text: string) => alike.every((one) => one.subject.labels.texts.includes(text));
  const own = party.subject.labels.texts.filter((text) => !shared(text)).map((text) => text.replace(/^k8s:/, ""));
  return own.join(",") || `${party.pods[0]?.workload.kind} ${party.pods[0]?.name}`;
}

const nodes: readonly Party[] = [
  { kind: "node", title: "host", node: undefined, identity: reservedIdentity.host },
  { kind: "node", title: "remote-node", node: undefined, identity: reservedIdentity.remoteNode },
  { kind: "node", title: "kube-apiserver", node: undefined, identity: reservedIdentity.kubeApiserver },
];

/** Each block stands for its addresses that are in no narrower block that a rule names; `world` for those in none. */
function outside(world: World, worlds: readonly World[]): Party[] {
  const blocks = new Set(worlds.flatMap(namedBlocks).map(({ prefix }) => prefix));
  const byWidth = [...blocks].sort((a, b) => prefixParts(a).bits - prefixParts(b).bits || (a < b ? -1 : 1));
  const names = new Map(worlds.flatMap(({ repo }) => repo.fqdns().map((one) => [fqdnLabelKey(one), one])));
  return [
    ...restOfWorld(world),
    ...byWidth.map((prefix) => outsideParty(world, prefix, { prefix })),
    ...[...names].map(([title, selector]) => outsideParty(world, title, { name: sampleName(selector) })),
  ];
}

/** With both families the world is two, and rules for `0.0.0.0/0` mean the one. */
function restOfWorld(world: World): Party[] {
  const { ipv4, ipv6 } = world.settings;
  if (!ipv4 || !ipv6) return [outsideParty(world, "world", {})];
  return ([4, 6] as const).map((family) => outsideParty(world, `world-ipv${family}`, { family }));
}
