import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PolicyObject } from "#k8s/types.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";

/**
 * The last valid version of every policy object, over restarts of the agent: when an object cannot be read, this is what it meant. One file an object,
 * `<kind>.<uid>.json`.
 */
export interface RememberedPolicies {
  /** The last valid version of this very object (an object made anew under its name is another). */
  recall(kind: string, uid: string): PolicyObject | undefined;
  remember(object: PolicyObject): void;
  /** Forgets every object of the kind whose uid is not among these. */
  keepOnly(kind: string, uids: ReadonlySet<string>): void;
  forget(kind: string, uid: string): void;
}

/** Keeps them in this directory, which is made. What cannot be written is logged: a restart then forgets it. */
export function rememberPoliciesIn(directory: string, log: Logger): RememberedPolicies {
  const attempt = (what: string, work: () => void) => {
    try {
      work();
    } catch (thrown) {
      log.error("a policy's last valid version cannot be kept over a restart", { what, directory, error: errorMessage(thrown) });
    }
  };
  attempt("directory", () => mkdirSync(directory, { recursive: true, mode: 0o700 }));
  const fileOf = (kind: string, uid: string) => join(directory, `${kind}.${uid}.json`);
  return {
    recall(kind, uid) {
      try {
        return JSON.parse(readFileSync(fileOf(kind, uid), "utf8")) as PolicyObject;
      } catch {
        // None was kept, or not whole: the object counts as never having been valid.
        return undefined;
      }
    },
    remember(object) {
      const { apiVersion, kind, metadata, spec, specs } = object;
      if (kind === undefined || metadata.uid === undefined) return;
      const file = fileOf(kind, metadata.uid);
      attempt(file, () => {
        writeFileSync(`${file}.new`, JSON.stringify({ apiVersion, kind, metadata, spec, specs }), { mode: 0o600 });
        renameSync(`${file}.new`, file);
      });
    },
    keepOnly(kind, uids) {
      attempt(kind, () => {
        for (const name of readdirSync(directory)) {
          const uid = name.startsWith(`${kind}.`) ? name.slice(kind.length + 1).replace(/\.json(\.new)?$/, "") : undefined;
          if (uid !== undefined && !uids.has(uid)) rmSync(join(directory, name), { force: true });
        }
      });
    },
    forget(kind, uid) {
      attempt(uid, () => rmSync(fileOf(kind, uid), { force: true }));
    },
  };
}
