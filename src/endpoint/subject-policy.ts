import type { EndpointPolicy, PolicyMapEntry } from "#policy/resolve.ts";
import type { Database } from "#statedb/database.ts";
import type { WritableTable } from "#statedb/table.ts";

/** How the entries of a policy changed when identities came and went. */
export interface PolicyDelta {
  readonly added: readonly PolicyMapEntry[];
  readonly removed: readonly PolicyMapEntry[];
}

/** The policy of all endpoints with one subject key. `policy` follows the identities in place; `version` says how far. */
export interface SubjectPolicy {
  /** `subjectKey` of the endpoints. */
  readonly key: string;
  /** The last good policy; undefined when there never was one: everything is denied. */
  readonly policy: EndpointPolicy | undefined;
  /** Why the present rules are not in force. */
  readonly error: string | undefined;
  /** Revision of the rules it was computed, or found unchanged, for. */
  readonly revision: number;
  readonly version: number;
  readonly log: DeltaLog;
}

/** The table of the policies that endpoints of this node have. */
export function createSubjectPolicyTable(db: Database): WritableTable<SubjectPolicy> {
  return db.createTable<SubjectPolicy>({
    name: "policies",
    key: (row) => row.key,
    columns: {
      SUBJECT: (row) => row.key,
      REVISION: (row) => row.revision,
      INGRESS: (row) => row.policy?.ingress.enforced ?? true,
      EGRESS: (row) => row.policy?.egress.enforced ?? true,
      ERROR: (row) => row.error,
    },
  });
}

/** The changes since some version, so that one new identity does not cost a walk over all entries. */
export interface DeltaLog {
  push(version: number, delta: PolicyDelta): void;
  /** The changes after `version`, oldest first; undefined when they are no longer known. */
  since(version: number): readonly PolicyDelta[] | undefined;
}

const KEPT = 256;

/** A log whose entries before `version` are unknown. */
export function createDeltaLog(version: number): DeltaLog {
  const deltas: PolicyDelta[] = [];
  let first = version;
  return {
    push(at, delta) {
      if (at !== first + deltas.length + 1) throw new Error(`version ${at} does not follow ${first + deltas.length}`);
      deltas.push(delta);
      if (deltas.length > KEPT) {
        deltas.shift();
        first += 1;
      }
    },
    since: (version) => (version < first || version > first + deltas.length ? undefined : deltas.slice(version - first)),
  };
}
