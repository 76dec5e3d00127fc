import { readFileSync } from "node:fs";
import type { CookieOrigin, Cookies } from "#datapath/cookies.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { writeWhole } from "#runtime/whole-file.ts";

/**
 * What numbers of rules stand for, over restarts of the agent: the counts that they name outlive it, and most sets of rules that judge a
 * request are in no policy map, so nobody could tell otherwise.
 */
export interface RememberedCookies {
  /** Remembers these too. */
  add(cookies: Iterable<number>): void;
  /** Remembers these and no others. */
  keepOnly(cookies: Iterable<number>): void;
}

type Row = readonly [cookie: number, origins: readonly CookieOrigin[]];

/** Gives `cookies` what is remembered in this file, and keeps it. What cannot be written is logged: a restart then forgets it, and its counts. */
export function rememberCookiesIn(path: string, cookies: Cookies, log: Logger): RememberedCookies {
  let known = new Set<number>();
  const restored = readSaved(path, log);
  cookies.restore(restored);
  for (const [cookie] of restored) known.add(cookie);
  const save = (next: ReadonlySet<number>) => {
    const rows = [...next].map((cookie): Row => [cookie, cookies.origins(cookie)]).filter(([, origins]) => origins.length > 0);
    known = new Set(next);
    try {
      writeWhole(path, JSON.stringify(rows));
    } catch (thrown) {
      log.error("counts of rules cannot be kept over a restart", { path, error: errorMessage(thrown) });
    }
  };
  return {
    add(more) {
      const next = known.union(new Set(more));
      if (next.size > known.size) save(next);
    },
    keepOnly(wanted) {
      const next = new Set(wanted);
      if (next.size !== known.size || !next.isSubsetOf(known)) save(next);
    },
  };
}

function isRow(row: unknown): row is Row {
  return Array.isArray(row) && Number.isInteger(row[0]) && Array.isArray(row[1]);
}

function readSaved(path: string, log: Logger): Row[] {
  try {
    const rows = JSON.parse(readFileSync(path, "utf8")) as unknown;
    if (!Array.isArray(rows) || !rows.every(isRow)) throw new TypeError("found no list of numbers and their rules");
    return rows;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ENOENT")
      log.warn("counts of rules that judged requests are lost: what their numbers stand for cannot be read", {
        path,
        error: errorMessage(thrown),
      });
    return [];
  }
}
