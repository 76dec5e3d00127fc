import { kafkaRoles } from "../l7/kafka-roles.ts";
import type { KafkaRule } from "../rule.ts";

/** One request type, or any, with what else it must be. */
type Atom = Omit<KafkaRule, "role">;

/**
 * What Kafka rules let through, in texts that are equal for rules that let the same through: a role is the request types that it stands for, and what
 * another rule covers is left out.
 */
export function kafkaTexts(rules: readonly KafkaRule[]): string[] {
  const atoms = rules.flatMap(atomsOf);
  const kept = atoms.filter((one, i) => !atoms.some((other, j) => i !== j && covers(other, one) && !(j > i && covers(one, other))));
  const byRest = Map.groupBy(kept, ({ apiKey: _, ...rest }) => JSON.stringify(Object.entries(rest).sort()));
  return [...byRest.values()].flatMap(folded).sort();
}

function atomsOf({ role, apiKey, ...rest }: KafkaRule): Atom[] {
  const own = apiKey?.toLowerCase();
  if (role === undefined) return [own === undefined ? rest : { ...rest, apiKey: own }];
  // A rule with both asks for both.
  return kafkaRoles[role].filter((key) => own === undefined || key === own).map((key) => ({ ...rest, apiKey: key }));
}

const fields = ["apiKey", "apiVersion", "clientID", "topic"] as const;

function covers(a: Atom, b: Atom): boolean {
  return fields.every((field) => a[field] === undefined || a[field] === b[field]);
}

/** Rules that differ in nothing but the request type, as the roles that they make up and what is left. */
function folded(atoms: readonly Atom[]): string[] {
  const keys = new Set(atoms.map(({ apiKey }) => apiKey));
  const roles = (["produce", "consume"] as const).filter((role) => kafkaRoles[role].every((key) => keys.has(key)));
  const left = [...keys].filter((key) => !roles.some((role) => key !== undefined && kafkaRoles[role].includes(key)));
  const { apiKey: _, ...rest } = atoms[0] ?? {};
  const ordered = Object.fromEntries(
    fields.flatMap((field) => (field === "apiKey" || rest[field] === undefined ? [] : [[field, rest[field]]])),
  );
  const texts = [
    ...roles.map((role) => ({ role, ...ordered })),
    ...left.map((apiKey) => ({ ...(apiKey === undefined ? {} : { apiKey }), ...ordered })),
  ];
  return texts.map((one) => JSON.stringify(one));
}
