import type { ReflectorHandler } from "#k8s/reflector.ts";
import type { PolicyObject } from "#k8s/types.ts";
import { parsePolicy } from "#policy/parse/parse.ts";
import { auditAnnotation, l7MergeAnnotations, type ParsedPolicy, policyKey } from "#policy/rule.ts";
import type { PolicySettings } from "#policy/settings.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Database } from "#statedb/database.ts";
import type { Table } from "#statedb/table.ts";
import type { RememberedPolicies } from "./remembered-policies.ts";

/**
 * A policy object and what it means. One that is refused from the start has no rules, as upstream; one that was valid before keeps
 * what it meant then, over restarts too, since a slip in an edit must not open what the policy closed.
 */
export interface PolicyRow {
  readonly key: string;
  readonly parsed: ParsedPolicy;
  readonly object: PolicyObject;
  /** The object has mistakes: `parsed` is what it meant before, or nothing. */
  readonly refused: boolean;
  /** When we heard of it, milliseconds since the epoch: for the delay until it is enforced. */
  readonly heardAt: number;
}

export interface Policies {
  readonly table: Table<PolicyRow>;
  /** For the reflector of one kind of policy objects. */
  handler(kind: string, apiVersion: string): ReflectorHandler<PolicyObject>;
  expect(source: string): () => void;
}

export interface PoliciesDeps {
  readonly db: Database;
  readonly log: Logger;
  readonly remembered: RememberedPolicies;
}

/** The policies table and its only writer. */
export function createPolicies(deps: PoliciesDeps, settings: PolicySettings): Policies {
  const { db, log, remembered } = deps;
  const table = db.createTable<PolicyRow>({
    name: "policy-objects",
    key: (row) => row.key,
    columns: {
      POLICY: (row) => row.key,
      RULES: (row) => row.parsed.rules.length,
      ISSUES: (row) => row.parsed.issues.map((issue) => issue.message),
    },
  });
  const parse = (object: PolicyObject, heardAt: number): PolicyRow => {
    const parsed = parsePolicy(object, settings);
    return { key: policyKey(parsed.ref), parsed, object, refused: parsed.issues.length > 0, heardAt };
  };
  const put = (object: PolicyObject) => {
    const row = parse(object, Date.now());
    const old = table.get(row.key);
    // Status and other annotations change without a new meaning.
    if (old && sameMeaning(old.object, object)) return;
    for (const issue of row.parsed.issues) log.warn("policy ignored", { policy: row.key, path: issue.path, issue: issue.message });
    for (const warning of row.parsed.warnings)
      log.info("policy warning", { policy: row.key, path: warning.path, warning: warning.message });
    const before = row.parsed.issues.length > 0 ? lastValid(old, object) : undefined;
    if (before) log.error("policy refused, its last valid version stays in force", { policy: row.key });
    if (row.parsed.issues.length === 0) remembered.remember(object);
    table.set(before ? { ...row, parsed: before } : row);
  };
  /** What the object meant before it was refused; of an agent that starts, what the one before it knew. */
  const lastValid = (old: PolicyRow | undefined, { kind = "", metadata: { uid = "" } }: PolicyObject): ParsedPolicy | undefined => {
    if (old && old.object.metadata.uid === uid && old.parsed.issues.length === 0) return old.parsed;
    const kept = remembered.recall(kind, uid);
    const parsed = kept && parsePolicy(kept, settings);
    return parsed?.issues.length === 0 ? parsed : undefined;
  };
  return {
    table,
    expect: (source) => table.expect(source),
    handler(kind, apiVersion) {
      const typed = (object: PolicyObject): PolicyObject => ({ ...object, kind, apiVersion });
      const keyOf = ({ metadata }: PolicyObject) => policyKey({ kind, namespace: metadata.namespace ?? "", name: metadata.name });
      return {
        replace(objects) {
          db.write(() => {
            const listed = new Set(objects.map(keyOf));
            for (const object of objects) put(typed(object));
            for (const { key, object } of [...table.list()]) if (object.kind === kind && !listed.has(key)) table.delete(key);
            remembered.keepOnly(kind, new Set(objects.map(({ metadata }) => metadata.uid ?? "")));
          });
        },
        upsert: (object) => put(typed(object)),
        remove(object) {
          table.delete(keyOf(object));
          remembered.forget(kind, object.metadata.uid ?? "");
        },
      };
    },
  };
}

function sameMeaning(a: PolicyObject, b: PolicyObject): boolean {
  if (a.metadata.uid !== b.metadata.uid) return false;
  // The annotations with a meaning; changing one makes no new generation.
  const differs = (name: string) => a.metadata.annotations?.[name] !== b.metadata.annotations?.[name];
  if ([auditAnnotation, ...l7MergeAnnotations].some(differs)) return false;
  if (a.metadata.generation !== undefined && a.metadata.generation === b.metadata.generation) return true;
  return JSON.stringify([a.spec, a.specs, a.metadata.labels]) === JSON.stringify([b.spec, b.specs, b.metadata.labels]);
}
