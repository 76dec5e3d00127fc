import { listOf, objectOf } from "../fields.ts";
import type { Fields } from "../reading.ts";
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
  if (ref.kind === "NetworkPolicy" || ref.kind === "ClusterNetworkPolicy") return yield* networkPolicy(parsed.ref, from.object);
  for (const { origin, action } of parsed.rules) {
    const path = rulePath(from.object, origin);
    const entry = entryAt(from.object, path);
    const at = { policy: ref, rule: origin };
    for (const [field, value] of Object.entries(entry)) {
      const kind = /^(?:from|to)([A-Z].*)$/.exec(field)?.[1] ?? "";
      const hint = instead[kind];
      if (hint === undefined || !Array.isArray(value) || value.length > 0) continue;
      yield { id: "L24", severity: "warning", ...at, path: `${path}.${field}`, message: "an empty list selects nobody", fix: hint };
    }
    yield* emptyPorts(entry, path, at);
    if (action === "allow" && Object.keys(entry).length === 0 && /allow/i.test(ref.name) && parsed.rules.length === 1) {
      const message = "the policy is named like an allow, but an empty entry allows nobody: it switches default deny on";
      const field = origin.section === "egress" ? "toEntities" : "fromEntities";
      yield { id: "L24", severity: "warning", ...at, path, message, fix: `write \`- ${field}: [all]\` to allow everybody` };
    }
  }
}

function entryAt(object: unknown, path: string): Fields {
  let value: unknown = object;
  for (const [, name, index] of path.matchAll(/([a-zA-Z]+)|\[(\d+)\]/g))
    value = name === undefined ? listOf(value)[Number(index)] : objectOf(value)[name];
  return objectOf(value);
}

function* emptyPorts(entry: Fields, path: string, at: Pick<Finding, "policy" | "rule">): Generator<Finding> {
  for (const [i, one] of listOf(entry.toPorts).entries()) {
    if (listOf(objectOf(one).ports).length > 0) continue;
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

/** In Kubernetes' own policies the empty list denies and the empty entry allows. */
function* networkPolicy(policy: Finding["policy"], object: unknown): Generator<Finding> {
  const spec = objectOf(objectOf(object).spec);
  for (const section of ["ingress", "egress"]) {
    const list = spec[section];
    if (!Array.isArray(list) || list.length > 0 || !/allow/i.test(policy.name)) continue;
    const message = `the policy is named like an allow, but ${section}: [] allows nobody`;
    yield { id: "L24", severity: "warning", policy, path: `spec.${section}`, message, fix: "`[{}]` allows everybody" };
  }
}
