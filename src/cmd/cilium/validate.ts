import { DEFINITIONS } from "#apiserver/crds/definitions.ts";
import { conform } from "#apiserver/schema/conform.ts";
import { resolveNothing } from "#apiserver/schema/schema.ts";
import { lintMoot } from "#policy/lint/moot.ts";
import { objectOf, textOf } from "#policy/parse/fields.ts";
import { misspeltKind } from "#policy/parse/misspelt.ts";
import { parsePolicy, policyKinds, versionProblem } from "#policy/parse/parse.ts";
import type { Issue, ParsedPolicy, RuleRef } from "#policy/rule.ts";
import { itemsOf, rulePath } from "#policy/world/objects.ts";
import { readDocuments } from "#yaml/documents.ts";

/** Something wrong, or worth saying, and where: `path` as in the object, line and column from 1 where they are known. */
export interface Problem {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  readonly path: string;
  readonly message: string;
}

export interface DocumentResult {
  readonly file: string;
  /** `file: Kind namespace/name`. */
  readonly object: string;
  readonly errors: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** A document's result with the policy that was found, which is looked at beside the others once all are read. */
type Checked = DocumentResult & { readonly found?: { readonly parsed: ParsedPolicy; place(rule: RuleRef, message: string): Problem } };

/**
 * Checks every policy of files of YAML documents (JSON is YAML) and of the Lists in them, by itself and beside the others; objects of other kinds are
 * passed over. Never throws, whatever the texts are.
 */
export function validateFiles(files: readonly { readonly file: string; readonly text: string }[]): DocumentResult[] {
  const checked = files.flatMap(({ file, text }) => checkDocuments(file, text));
  const policies = checked.flatMap(({ found }) => found?.parsed ?? []);
  const moot = Map.groupBy(lintMoot(policies), ({ policy }) => policy);
  return checked.map(({ found, ...result }) => {
    const findings = (found && moot.get(found.parsed.ref)) ?? [];
    const more = findings.flatMap(({ rule, message }) => (found === undefined || rule === undefined ? [] : [found.place(rule, message)]));
    return more.length === 0 ? result : { ...result, warnings: [...result.warnings, ...more].sort(byPlace) };
  });
}

function checkDocuments(file: string, text: string): Checked[] {
  return readDocuments(text).flatMap(({ value, problems, locate }): Checked[] => {
    const unreadable = problems.map(({ message, place }): Problem => ({ file, ...place, path: "", message }));
    if (unreadable.length > 0) return [{ file, object: file, errors: unreadable, warnings: [] }];
    const place: Placer = (path, message) => ({ file, ...(locate(path) ?? {}), path, message });
    if (typeof value !== "object" || Array.isArray(value))
      return [{ file, object: file, errors: [place("", "a Kubernetes object is needed")], warnings: [] }];
    return validateItems(file, value, "", place);
  });
}

/** As the author reads them: from the first line to the last. */
function byPlace(a: Problem, b: Problem): number {
  return (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);
}

/** Makes a problem of a path in the document. */
type Placer = (path: string, message: string) => Problem;

/** An object, or those of a List; `at` is its path in the document, empty for the document itself. */
function validateItems(file: string, object: unknown, at: string, place: Placer): Checked[] {
  const items = itemsOf(object);
  if (items === undefined) return validateObject(file, object, at, place);
  return items.flatMap((item, index) => validateItems(file, item, [at, `items[${index}]`].filter(Boolean).join("."), place));
}

function validateObject(file: string, object: unknown, at: string, place: Placer): Checked[] {
  const { kind, apiVersion, metadata } = objectOf(object);
  const { name, namespace } = objectOf(metadata);
  const [kindText, version] = [textOf(kind), textOf(apiVersion)];
  const title = `${file}: ${kindText || "(no kind)"} ${[textOf(namespace), textOf(name) || "(no name)"].filter(Boolean).join("/")}`;
  const fromRoot = (path: string) => [at, path].filter(Boolean).join(".");
  const refused = (path: string, message: string): DocumentResult[] => [
    { file, object: title, errors: [place(fromRoot(path), message)], warnings: [] },
  ];
  if (!policyKinds.includes(kindText)) {
    const misspelt = misspeltKind(object);
    return misspelt === undefined ? [] : refused("kind", misspelt);
  }
  const wrongVersion = versionProblem(kindText, version);
  if (wrongVersion !== undefined && version !== "") return refused("apiVersion", wrongVersion.message);
  const parsed = parsePolicy(object);
  const { issues, warnings } = parsed;
  const format = ({ path, message }: Pick<Issue, "path" | "message">) => place(fromRoot(path), message);
  // What no API server stores is as wrong to its author as what the engine refuses.
  const [unstorable, notes] = [warnings.filter(({ stage }) => stage === "schema"), warnings.filter(({ stage }) => stage !== "schema")];
  const unversioned: Issue[] = wrongVersion === undefined ? [] : [{ path: "apiVersion", message: wrongVersion.message, stage: "schema" }];
  const said = [...unversioned, ...issues, ...unstorable];
  const errors = [...said, ...schemaProblems(kindText, object, said)];
  const found = { parsed, place: (rule: RuleRef, message: string) => format({ path: rulePath(object, rule), message }) };
  return [{ file, object: title, errors: errors.map(format).sort(byPlace), warnings: notes.map(format).sort(byPlace), found }];
}

/** What the definition of a custom kind has against an object, where the engine has not said it better. */
function schemaProblems(kind: string, object: unknown, said: readonly Issue[]): Issue[] {
  const definition = DEFINITIONS.find((one) => one.kind === kind);
  if (definition === undefined) return [];
  const { metadata: _, ...rest } = objectOf(object);
  const { required, ...schema } = definition.schema;
  const { mistyped, causes } = conform(schema, rest, { resolve: resolveNothing, dropNulls: false });
  const missing = (required ?? []).filter((field) => field !== "metadata" && rest[field] === undefined);
  const problems = [
    ...[...mistyped, ...causes].map(({ field, message }): Issue => ({ path: field, message, stage: "schema" })),
    ...missing.map((path): Issue => ({ path, message: "Required value", stage: "schema" })),
  ];
  return problems.filter(
    ({ path }) => !said.some((one) => one.path === path || one.path.startsWith(`${path}.`) || one.path.startsWith(`${path}[`)),
  );
}

/** `file:line:column: path: message`, as much of it as there is. */
export function formatProblem({ file, line, column, path, message }: Problem): string {
  const place = line === undefined ? file : `${file}:${line}:${column}`;
  return `${place}: ${path === "" ? "" : `${path}: `}${message}`;
}
