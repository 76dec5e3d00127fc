import type { EndpointPolicy, PolicyMapEntry } from "#policy/resolve/resolve.ts";
import type { Database } from "#statedb/database.ts";
import type { WritableTable } from "#statedb/table.ts";

/** How the entries of a policy changed when identities came and went. */
export interface PolicyDelta {
  readonly added: readonly PolicyMapEntry[];
  readonly removed: readonly PolicyMapEntry[];
}

const AUDITED = "|audited";

/** Under this key is, beside a subject's policy, the one that it would have if nothing were audited; only for subjects of audited policies. */
export function auditedKey(subject: string): string {
  return subject.endsWith(AUDITED) ? subject : `${subject}${AUDITED}`;
}

/** The subject that a key is about; the key itself unless it is an `auditedKey`. */
export function subjectOfKey(key: string): string {
  return key.endsWith(AUDITED) ? key.slice(0, -AUDITED.length) : key;
}

/** The policy of all endpoints with one subject key. `policy` follows the identities in place; `version` says how far. */
export interface SubjectPolicy {
  /** `subjectKey` of the endpoints, or `auditedKey` of that. */
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
