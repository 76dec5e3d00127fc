import { label, labelSource } from "#labels/label.ts";
import { type LabelSet, labelSetOf } from "#labels/label-set.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";

/** An identity whose number is fixed. */
export type ReservedIdentity = { readonly id: NumericIdentity; readonly name: string; readonly labels: LabelSet };

const reservedLabel = (name: string) => label(name, "", labelSource.reserved);

function entry(id: NumericIdentity, name: string, ...extra: string[]): ReservedIdentity {
  return { id, name, labels: labelSetOf([name, ...extra].map(reservedLabel)) };
}

const all: readonly ReservedIdentity[] = [
  entry(reservedIdentity.host, "host"),
  entry(reservedIdentity.world, "world"),
  entry(reservedIdentity.unmanaged, "unmanaged"),
  entry(reservedIdentity.health, "health"),
  entry(reservedIdentity.init, "init"),
  entry(reservedIdentity.remoteNode, "remote-node"),
  entry(reservedIdentity.kubeApiserver, "kube-apiserver", "remote-node"),
  entry(reservedIdentity.ingress, "ingress"),
  entry(reservedIdentity.worldIpv4, "world-ipv4"),
  entry(reservedIdentity.worldIpv6, "world-ipv6"),
];

/** All identities with fixed numbers, by number. */
export function reservedIdentities(): readonly ReservedIdentity[] {
  return all;
}

/** The name of a fixed number (`host`), or undefined. */
export function reservedName(id: NumericIdentity): string | undefined {
  return id === reservedIdentity.unknown ? "unknown" : all.find((one) => one.id === id)?.name;
}

/** The labels of a fixed number. */
export function reservedLabels(id: NumericIdentity): LabelSet | undefined {
  return all.find((one) => one.id === id)?.labels;
}

/** Reads an identity as commands take it: `host`, `reserved:host` or a number; undefined for anything else. */
export function parseIdentity(text: string): NumericIdentity | undefined {
  const name = text.startsWith("reserved:") ? text.slice("reserved:".length) : text;
  if (name === "unknown") return reservedIdentity.unknown;
  const reserved = all.find((one) => one.name === name);
  if (reserved !== undefined) return reserved.id;
  return /^\d{1,10}$/.test(text) && Number(text) <= 0xffffffff ? (Number(text) as NumericIdentity) : undefined;
}
