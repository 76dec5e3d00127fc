/**
 * Servers read the same path differently: some resolve `..`, decode `%2F`, merge `//`, take it for the start of a host (`new URL(path, base)`, Python's
 * `urlsplit`), take `\` as `/` or cut `;parameters`. A path is therefore only allowed when each of its readings is allowed. Sources: RFC 3986 §4.2,
 * §5.2.4 and §6.2.2, CVE-2021-29492, CVE-2026-73551.
 */

/** Without any of these there is nothing to read in two ways, which is quick to see. */
const MARKED = /[%;\\]|\/[/.]/;

const SUSPICIOUS = /\/\/|\/\.|\\|;|%(?:2[def57e]|5[cf]|3[0-9b]|[46][1-9a-f]|[57][0-9a]|7e)/i;

/** Escapes that stand for an unreserved character or for one that gives a path its structure (`/ \ ; . %`). */
const DECODABLE = /%(2[def5]|5[cf]|3[0-9b]|[46][1-9a-f]|[57][0-9a]|7e)/gi;

/** What is no UTF-8, but `.` or `/` to who decodes it carelessly (CVE-2008-2938, CVE-2000-0884), and escapes of another kind (`%u002e`). */
const UNREADABLE = /%c[01]%[89ab]|%e0%[89]|%f0%8|%u[0-9a-f]{4}/i;

const MAX_DECODINGS = 3;

/**
 * Every way in which a server may read `target` (path and query), other than as it stands. Empty for ordinary paths; null when the path
 * is escaped in a way, or so many times over, that it can only be an attack.
 */
export function readingsOf(target: string): readonly string[] | null {
  if (!MARKED.test(target)) return [];
  const cut = target.indexOf("?");
  const path = cut < 0 ? target : target.slice(0, cut);
  if (UNREADABLE.test(path)) return null;
  if (!SUSPICIOUS.test(target)) return [];
  const query = cut < 0 ? "" : target.slice(cut);
  const found = new Set<string>();
  let decoded = path;
  for (let round = 0; ; round++) {
    addReadings(decoded, found);
    const next = decoded.replace(DECODABLE, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    if (next === decoded) break;
    if (UNREADABLE.test(next)) return null;
    if (round === MAX_DECODINGS) return null;
    decoded = next;
  }
  found.delete(path);
  return [...found].map((reading) => reading + query);
}

function addReadings(path: string, into: Set<string>): void {
  for (const slashes of unique(path, path.replaceAll("\\", "/"))) {
    for (const plain of unique(slashes, slashes.replace(/;[^/]*/g, ""))) {
      const merged = plain.replace(/\/{2,}/g, "/");
      const behindHost = plain.startsWith("//") ? plain.replace(/^\/+[^/]*/, "") || "/" : plain;
      for (const reading of [plain, merged, behindHost, ...[plain, merged, behindHost].map(removeDots)]) into.add(reading);
      into.add(removeDots(plain).replace(/\/{2,}/g, "/"));
    }
  }
}

function unique(a: string, b: string): readonly string[] {
  return a === b ? [a] : [a, b];
}

/** RFC 3986 §5.2.4 for absolute paths. */
function removeDots(path: string): string {
  if (!path.includes("/.")) return path;
  const out: string[] = [];
  const segments = path.split("/").slice(1);
  for (const [at, segment] of segments.entries()) {
    const last = at === segments.length - 1;
    if (segment === "..") out.pop();
    else if (segment !== ".") out.push(segment);
    if (last && (segment === ".." || segment === ".")) out.push("");
  }
  return `/${out.join("/")}`;
}
