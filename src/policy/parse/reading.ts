import type { Issue } from "../rule.ts";
import type { PolicySettings } from "../settings.ts";

/** A policy object being read: where problems are collected, all of them and not just the first. */
export type Reading = { readonly settings: PolicySettings; readonly issues: Issue[]; readonly warnings: Issue[] };

/** A JSON object whose fields are not known yet. */
export type Fields = Readonly<Record<string, unknown>>;

/** Starts reading an object. */
export function startReading(settings: PolicySettings): Reading {
  return { settings, issues: [], warnings: [] };
}

/** Records a rule that is refused. */
export function refuse(reading: Reading, path: string, message: string): void {
  reading.issues.push({ path, message, stage: "validate" });
}

/** Records something that is accepted here but not by every Cilium. */
export function warnPortability(reading: Reading, path: string, message: string): void {
  reading.warnings.push({ path, message: `not portable: ${message}`, stage: "portability" });
}

/** Records a field that is ignored or probably not what was meant. */
export function warn(reading: Reading, path: string, message: string): void {
  reading.warnings.push({ path, message, stage: "validate" });
}

function describe(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  if (typeof value === "string") return `the text ${JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)}`;
  return `${typeof value} ${String(value)}`;
}

function misfit(reading: Reading, path: string, wanted: string, value: unknown): undefined {
  reading.issues.push({ path, message: `must be ${wanted}, found ${describe(value)}`, stage: "decode" });
  return undefined;
}

/** Records what the engine takes, as Cilium's does, but no API server stores. */
export function warnUnstorable(reading: Reading, path: string, message: string): void {
  reading.warnings.push({ path, message, stage: "schema" });
}

/** The value as an object; null and absent are undefined, anything else is an issue. */
export function readObject(reading: Reading, value: unknown, path: string): Fields | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "object" && !Array.isArray(value)) return value as Fields;
  return misfit(reading, path, "an object", value);
}

/** The value as a list; null and absent are undefined, anything else is an issue. */
export function readList(reading: Reading, value: unknown, path: string): readonly unknown[] | undefined {
  if (value === undefined || value === null) return undefined;
  if (Array.isArray(value)) return value as readonly unknown[];
  return misfit(reading, path, "a list", value);
}

const yes = "in YAML y, yes, on, true and n, no, off, false are true and false";

/** The value as a text; null and absent are undefined, anything else is an issue. */
export function readString(reading: Reading, value: unknown, path: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return value;
  const hint =
    typeof value === "number" ? ` (write it in quotes: "${value}")` : typeof value === "boolean" ? ` (${yes} without quotes)` : "";
  return misfit(reading, path, `a text${hint}`, value);
}

/** The value as true or false; null and absent are undefined, anything else is an issue. */
export function readBoolean(reading: Reading, value: unknown, path: string): boolean | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === "boolean" ? value : misfit(reading, path, "true or false", value);
}

/** The value as a whole number within bounds; null and absent are undefined, anything else is an issue. `meant` are the bounds to name, if others. */
export function readInteger(
  reading: Reading,
  value: unknown,
  path: string,
  min: number,
  max: number,
  meant: readonly [number, number] = [min, max],
): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
  return misfit(reading, path, `a whole number from ${meant[0]} to ${meant[1]}`, value);
}

/** A list whose elements must all be texts; null elements count as empty texts, as in Go. */
export function readStrings(reading: Reading, value: unknown, path: string): string[] | undefined {
  return readList(reading, value, path)?.map((one, i) => readString(reading, one, `${path}[${i}]`) ?? "");
}

/** A list whose elements must all be objects; null elements count as empty objects, as in Go. */
export function readObjects(reading: Reading, value: unknown, path: string): Fields[] | undefined {
  return readList(reading, value, path)?.map((one, i) => readObject(reading, one, `${path}[${i}]`) ?? {});
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substituted));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** `; did you mean "x"?` for the allowed word nearest to the one found, or nothing when none is near. */
export function didYouMean(found: string, allowed: readonly string[]): string {
  if (found.length > 60) return "";
  const lower = found.toLowerCase();
  let best: string | undefined;
  let most = Math.max(2, Math.floor(found.length / 3));
  for (const word of allowed) {
    // What is longer or shorter by more is further away, too.
    const other = word.toLowerCase();
    if (Math.abs(other.length - lower.length) > most) continue;
    const score = distance(lower, other);
    if (score > most) continue;
    best = word;
    most = score - 1;
  }
  return best === undefined ? "" : `; did you mean "${best}"?`;
}

/** What other kinds of policies, or other places, call a field. */
const otherNames: Readonly<Record<string, readonly string[]>> = {
  podSelector: ["endpointSelector"],
  endpointSelector: ["podSelector"],
  ports: ["toPorts"],
  toPorts: ["ports"],
  from: ["fromEndpoints"],
  to: ["toEndpoints"],
  fromEndpoints: ["from", "toEndpoints"],
  toEndpoints: ["to", "fromEndpoints"],
  ipBlock: ["fromCIDRSet", "toCIDRSet"],
};

/** Where a field stands that is often written too high up. */
const below: Readonly<Record<string, string>> = {
  rules: "toPorts",
  serverNames: "toPorts",
  port: "ports",
  protocol: "ports",
  endPort: "ports",
  http: "rules",
  dns: "rules",
};

function hintFor(name: string, allowed: readonly string[]): string {
  const other = otherNames[name]?.find((one) => allowed.includes(one));
  if (other !== undefined) return `; here it is "${other}"`;
  if (Object.hasOwn(below, name)) return `; it stands under ${below[name]}`;
  return allowed.includes("matchLabels") ? "; labels stand under matchLabels" : didYouMean(name, allowed);
}

/** Warns of fields that nobody reads: a misspelt field would otherwise silently widen or narrow the policy. */
export function checkFields(reading: Reading, fields: Fields, path: string, allowed: readonly string[]): void {
  for (const name of Object.keys(fields)) {
    if (!allowed.includes(name))
      warn(reading, path === "" ? name : `${path}.${name}`, `unknown field "${name}" is ignored${hintFor(name, allowed)}`);
  }
}
