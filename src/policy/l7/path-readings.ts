/**
 * Servers read the same path differently: some resolve `..`, decode `%2F`, merge `//`, take it for the start of a host (`new URL(path, base)`, Python's
 * `urlsplit`), take `\` as `/` or cut `;parameters`; and what one of them makes of it goes to the next. A path is therefore only allowed when each of its readings
 * is allowed. Sources: RFC 3986 §4.2, §5.2.4 and §6.2.2, the URL Standard (`%2e%2e` goes up, `%2f` separates nothing), CVE-2021-29492, CVE-2026-73551.
 */

/** Without any of these there is nothing to read in two ways, which is quick to see. */
const MARKED = /[%;\\]|\/[/.]/;

const SUSPICIOUS = /\/\/|\/\.|\\|;|%(?:2[def57e]|5[cf]|3[0-9b]|[46][1-9a-f]|[57][0-9a]|7e)/i;

/** Escapes that stand for an unreserved character: whoever writes them out changes nothing but dots (RFC 3986 §6.2.2.2). */
const UNRESERVED = /%(2[de]|5f|3[0-9]|[46][1-9a-f]|[57][0-9a]|7e)/gi;

/** Those, and escapes of what gives a path its structure (`/ \ ; %`). */
const DECODABLE = /%(2[def5]|5[cf]|3[0-9b]|[46][1-9a-f]|[57][0-9a]|7e)/gi;

/** What is no UTF-8, but `.` or `/` to who decodes it carelessly (CVE-2008-2938, CVE-2000-0884), and escapes of another kind (`%u002e`). */
const UNREADABLE = /%c[01]%[89ab]|%e0%[89]|%f0%8|%u[0-9a-f]{4}/i;

const MAX_DECODINGS = 3;
/** Readings of one path, and characters in all of them: an ordinary path has a few. */
const [MAX_READINGS, MAX_CHARACTERS] = [128, 256 * 1024];

/** What servers do to a path, in whatever order. */
const STEPS: readonly ((path: string) => string)[] = [
  (path) => decoded(path, UNRESERVED),
  (path) => decoded(path, DECODABLE),
  (path) => path.replaceAll("\\", "/"),
  (path) => path.replace(/;[^/]*/g, ""),
  (path) => path.replace(/\/{2,}/g, "/"),
  (path) => (path.startsWith("//") ? path.replace(/^\/+[^/]*/, "") || "/" : path),
  removeDots,
];

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
  if (decodings(path) > MAX_DECODINGS) return null;
  const found = new Set([path]);
  let characters = 0;
  // Those that are found meanwhile have their turn, too.
  for (const one of found) {
    characters += one.length;
    if (found.size > MAX_READINGS || characters > MAX_CHARACTERS || UNREADABLE.test(one)) return null;
    for (const step of STEPS) found.add(step(one));
  }
  found.delete(path);
  const query = cut < 0 ? "" : target.slice(cut);
  return [...found].map((reading) => reading + query);
}

/** How often it can be decoded until nothing changes any more. */
function decodings(path: string): number {
  let last = path;
  for (let round = 0; ; round++) {
    const next = decoded(last, DECODABLE);
    if (next === last || round > MAX_DECODINGS) return round;
    last = next;
  }
}

function decoded(path: string, escapes: RegExp): string {
  return path.replace(escapes, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
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
