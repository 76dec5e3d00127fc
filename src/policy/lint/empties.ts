import { directions } from "#types/direction.ts";
import { listOf, objectOf, valueAt } from "../parse/fields.ts";
import type { Fields } from "../parse/reading.ts";
import { rulePath } from "../world/objects.ts";
import type { WorldPolicy } from "../world/world.ts";
import type { Finding } from "./finding.ts";

const instead: Readonly<Record<string, string>> = {
  Endpoints: "`- {}` selects every pod of the namespace",
  Entities: "`- all` selects everybody",
  CIDR: "name a block, or leave the field out for everybody",
  CIDRSet: "name a block, or leave the field out for everybody",
  FQDNs: "name a name, or leave the field out for everybody",
  Services: "name a service, or leave the field out for everybody",
  Nodes: "`- {}` selects every node",
};

/** `[]` where `[{}]` is meant, and the other way round. */
export function* lintEmpties({ parsed, from }: WorldPolicy): Generator<Finding> {
  const { ref } = parsed;
  if (parsed.issues.length === 0 && parsed.rules.length === 0) yield nothing(ref);
  if (ref.kind === "NetworkPolicy" || ref.kind === "ClusterNetworkPolicy") return yield* networkPolicy(parsed.ref, from.object);
  yield* unusedDefaults(from.object, ref);
  for (const { origin, action } of parsed.rules) {
    const path = rulePath(from.object, origin);
    const entry = objectOf(valueAt(from.object, path));
    const at = { policy: ref, rule: origin };
    for (const [field, value] of Object.entries(entry)) {
      const kind = /^(?:from|to)([A-Z].*)$/.exec(field)?.[1] ?? "";
      const hint = instead[kind];
      if (hint === undefined || !Array.isArray(value) || value.length > 0) continue;
      yield { id: "L24", severity: "warning", ...at, path: `${path}.${field}`, message: "an empty list selects nobody", fix: hint };
    }
    yield* emptyPorts(entry, path, at);
    yield* emptyTypes(entry, path, at);
    if (action === "allow" && Object.keys(entry).length === 0 && /allow/i.test(ref.name) && parsed.rules.length === 1) {
      const message = "the policy is named like an allow, but an empty entry allows nobody: it switches default deny on";
      const field = origin.section === "egress" ? "toEntities" : "fromEntities";
      yield { id: "L24", severity: "warning", ...at, path, message, fix: `write \`- ${field}: [all]\` to allow everybody` };
    }
  }
}

function* emptyPorts(entry: Fields, path: string, at: Pick<Finding, "policy" | "rule">): Generator<Finding> {
  for (const [i, one] of listOf(entry.toPorts).entries()) {
    const { ports, rules } = objectOf(one);
    const protocol = ["http", "dns", "kafka"].find((name) => isEmpty(objectOf(rules)[name]));
    if (protocol !== undefined && listOf(ports).length > 0) {
      const message = `${protocol}: [] is no application rule: everything on these ports is allowed`;
      const fix = "name requests, or take `rules` out";
      yield { id: "L24", severity: "warning", ...at, path: `${path}.toPorts[${i}].rules.${protocol}`, message, fix };
    }
    for (const [j, { port }] of listOf(ports).map(objectOf).entries()) {
      if (port !== "0") continue;
      const message = "port 0 is every port of the protocol";
      const fix = "name a port, or leave toPorts out for everything";
      yield { id: "L24", severity: "info", ...at, path: `${path}.toPorts[${i}].ports[${j}]`, message, fix };
    }
    if (listOf(ports).length > 0) continue;
    const message = "toPorts with no ports matches no traffic";
    yield {
      id: "L24",
      severity: "warning",
      ...at,
      path: `${path}.toPorts[${i}]`,
      message,
      fix: "name ports, or leave toPorts out for all of them",
    };
  }
}

const isEmpty = (value: unknown) => Array.isArray(value) && value.length === 0;

function* emptyTypes(entry: Fields, path: string, at: Pick<Finding, "policy" | "rule">): Generator<Finding> {
  const types = listOf(entry.icmps);
  if (types.length === 0 || types.some((one) => listOf(objectOf(one).fields).length > 0)) return;
  const fix = "name types, or leave icmps out for all traffic";
  yield { id: "L24", severity: "warning", ...at, path: `${path}.icmps`, message: "icmps with no fields matches no traffic", fix };
}

function nothing(policy: Finding["policy"]): Finding {
  const message = "has no rules, so it does nothing: neither allows, nor denies, nor isolates";
  return { id: "L24", severity: "warning", policy, message, fix: "give it rules, or delete it" };
}

/** Default deny asked for in a direction for which there is no rule. */
function* unusedDefaults(object: unknown, policy: Finding["policy"]): Generator<Finding> {
  const { spec, specs } = objectOf(object);
  for (const [path, one] of [["spec", spec] as const, ...listOf(specs).map((each, i) => [`specs[${i}]`, each] as const)]) {
    const fields = objectOf(one);
    for (const direction of directions) {
      const rules = [direction, `${direction}Deny`].flatMap((section) => listOf(fields[section]));
      if (objectOf(fields.enableDefaultDeny)[direction] !== true || rules.length > 0) continue;
      const message = `has no effect, as there is no ${direction} rule: everything stays allowed`;
      const fix = `add \`${direction}: [{}]\`, which denies by default`;
      yield { id: "L24", severity: "warning", policy, path: `${path}.enableDefaultDeny.${direction}`, message, fix };
    }
  }
}

/** In Kubernetes' own policies the empty list denies and the empty entry allows. */
function* networkPolicy(policy: Finding["policy"], object: unknown): Generator<Finding> {
  const spec = objectOf(objectOf(object).spec);
  for (const section of directions) {
    const list = spec[section];
    const peers = section === "ingress" ? "from" : "to";
    for (const [i, entry] of listOf(list).entries()) {
      if (!isEmpty(objectOf(entry)[peers])) continue;
      const message = `${peers}: [] is as if it were not there: everybody`;
      const fix = "name peers, or leave the list out to say so; `podSelector: {}` is every pod of the namespace";
      yield { id: "L24", severity: "warning", policy, path: `spec.${section}[${i}].${peers}`, message, fix };
    }
    if (!Array.isArray(list) || list.length > 0 || !/allow/i.test(policy.name)) continue;
    const message = `the policy is named like an allow, but ${section}: [] allows nobody`;
    yield { id: "L24", severity: "warning", policy, path: `spec.${section}`, message, fix: "`[{}]` allows everybody" };
  }
}
