import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { errorMessage } from "#runtime/errors.ts";
import { ApiError } from "../errors.ts";
import type { KubeObject } from "../object.ts";

/** One stored object as the file has it. */
export interface StoredRow {
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly object: KubeObject;
}

/** The durable half of the store: every call has reached the file (and survives `kill -9`) when it returns. */
export interface StateFile extends Disposable {
  /** The newest resource version ever given out. */
  readonly revision: number;
  rows(): Iterable<StoredRow>;
  put(resource: string, object: KubeObject, revision: number): void;
  remove(resource: string, object: KubeObject, revision: number): void;
  readonly path: string;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (resource, namespace, name)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  INSERT OR IGNORE INTO meta VALUES ('revision', 0);
`;

/**
 * Opens (or makes) `state.db` in the directory and takes it for this process alone. Throws when another server has it.
 * `maxPages` bounds the file's size; tests use it to fill the "disk".
 */
export function openStateFile(directory: string, options: { readonly maxPages?: number } = {}): StateFile {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, "state.db");
  const database = openExclusively(path);
  if (options.maxPages) database.exec(`PRAGMA max_page_count = ${options.maxPages}`);
  const putRow = database.prepare("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)");
  const dropRow = database.prepare("DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?");
  const setRevision = database.prepare("UPDATE meta SET value = ? WHERE key = 'revision'");
  const begin = database.prepare("BEGIN IMMEDIATE");
  const commit = database.prepare("COMMIT");

  const transaction = (write: () => void) => {
    try {
      begin.run();
      write();
      commit.run();
    } catch (thrown) {
      if (database.isTransaction) database.exec("ROLLBACK");
      throw storageError(path, thrown);
    }
  };

  const revisionRow = database.prepare("SELECT value FROM meta WHERE key = 'revision'").get();
  return {
    path,
    revision: Number(revisionRow?.value ?? 0),
    *rows() {
      for (const row of database.prepare("SELECT resource, namespace, name, json FROM objects").iterate()) {
        const { resource, namespace, name, json } = row as Record<string, string>;
        if (resource === undefined || namespace === undefined || name === undefined || json === undefined) continue;
        yield { resource, namespace, name, object: JSON.parse(json) as KubeObject };
      }
    },
    put(resource, object, revision) {
      transaction(() => {
        putRow.run(resource, object.metadata.namespace ?? "", object.metadata.name, JSON.stringify(object));
        setRevision.run(revision);
      });
    },
    remove(resource, object, revision) {
      transaction(() => {
        dropRow.run(resource, object.metadata.namespace ?? "", object.metadata.name);
        setRevision.run(revision);
      });
    },
    [Symbol.dispose]() {
      database.close();
    },
  };
}

/** `locking_mode=EXCLUSIVE` keeps SQLite's own file lock for as long as the process lives, so a crash leaves no stale lock. */
function openExclusively(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 200 });
  try {
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
    database.exec(SCHEMA);
    database.exec("BEGIN IMMEDIATE; COMMIT");
    return database;
  } catch (thrown) {
    database.close();
    const busy = /locked|busy/i.test(errorMessage(thrown));
    const message = busy ? `${path} is in use by another API server; stop that one first` : `cannot open ${path}`;
    throw new ApiError(500, busy ? "StateInUse" : "StateUnreadable", message, undefined, { cause: thrown });
  }
}

function storageError(path: string, thrown: unknown): ApiError {
  const text = errorMessage(thrown);
  const full = /full|disk i\/o|no space/i.test(text);
  const advice = full ? "; nothing was changed, free some space and try again" : "; nothing was changed";
  return new ApiError(
    full ? 507 : 500,
    full ? "InsufficientStorage" : "InternalError",
    `cannot write ${path}: ${text}${advice}`,
    undefined,
    {
      cause: thrown,
    },
  );
}
