import { directions } from "#types/direction.ts";
import { listOf, objectOf } from "../parse/fields.ts";
import type { Fields } from "../parse/reading.ts";
import type { WorldPolicy } from "../world/world.ts";
import type { Finding } from "./finding.ts";

/** Entries of a list that read like one rule: a dash too many makes two of it, either of which is enough. */
export function* lintEntries({ parsed, from }: WorldPolicy): Generator<Finding> {
  const { spec, specs } = objectOf(from.object);
  const all = [{ path: "spec", spec: objectOf(spec) }, ...listOf(specs).map((one, i) => ({ path: `specs[${i}]`, spec: objectOf(one) }))];
  for (const one of all) {
    for (const section of directions) {
      const entries = listOf(one.spec[section]).map(objectOf);
      for (const [i, entry] of entries.entries()) {
        const path = `${one.path}.${section}[${i}]`;
        if (isPorts(entry) && isPeers(entries[i - 1] ?? {})) yield { ...split(section, i), policy: parsed.ref, path };
        if (parsed.ref.kind === "NetworkPolicy") yield* eitherPeers(entry, path, parsed.ref);
      }
    }
  }
}

const portFields = ["toPorts", "ports", "icmps"];

function isPorts(entry: Fields): boolean {
  const names = Object.keys(entry);
  return names.length > 0 && names.every((name) => portFields.includes(name));
}

function isPeers(entry: Fields): boolean {
  const names = Object.keys(entry);
  return names.length > 0 && names.every((name) => /^(from|to)([A-Z].*)?$/.test(name) && !portFields.includes(name));
}

function split(section: string, index: number): Pick<Finding, "id" | "severity" | "message" | "fix"> {
  const before = `${section}[${index - 1}] allows its peers every port`;
  const message = `${before}, and ${section}[${index}] allows everybody its ports: a dash too many makes two rules of one`;
  return { id: "L31", severity: "warning", message, fix: "if these ports of these peers are meant, take the dash before the ports out" };
}

/** `namespaceSelector` and `podSelector` as two peers are either, as one both. */
function* eitherPeers(entry: Fields, path: string, policy: Finding["policy"]): Generator<Finding> {
  for (const field of ["from", "to"]) {
    const peers = listOf(entry[field]).map((one) => Object.keys(objectOf(one)).join());
    const at = peers.findIndex((one, i) => one === "podSelector" && peers[i - 1] === "namespaceSelector");
    if (at < 0) continue;
    const message = `${field}[${at - 1}] is every pod of these namespaces, ${field}[${at}] are pods of the policy's own namespace: either is enough`;
    const fix = "if these pods of those namespaces are meant, make one peer of the two: take the second dash out";
    yield { id: "L31", severity: "info", policy, path: `${path}.${field}[${at}]`, message, fix };
  }
}
