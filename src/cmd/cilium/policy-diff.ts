import { policyKinds } from "#policy/parse/parse.ts";
import { type Change, type ChangeKind, compareWorlds } from "#policy/reach/compare.ts";
import { flattened, formatPlace, identityOf, type SourcedObject } from "#policy/world/objects.ts";
import { createWorld, type World } from "#policy/world/world.ts";
import { CodedError } from "#runtime/errors.ts";
import { formatOutput } from "./output.ts";
import { CLUSTER, loadObjects, type WorldOptions } from "./world.ts";

/** Nothing to compare: no pods are known. */
export class DiffError extends CodedError {}

export interface DiffOptions extends WorldOptions {
  /** Files, directories or `cluster`. */
  readonly before: string;
  readonly after: string;
  readonly output?: string | undefined;
}

const POLICY_SIDE = [...policyKinds, "CiliumCIDRGroup"];

/** `policy diff A B`. `ok` is false when something differs, as with diff(1). Rejects when a side cannot be read. */
export async function policyDiff(options: DiffOptions): Promise<{ readonly text: string; readonly ok: boolean }> {
  const { before, after } = await loadSides(options);
  if (before.endpoints.length === 0)
    throw new DiffError("no-pods", "no pods or workloads in these files: name them with --pods FILE, or --pods cluster for the live ones");
  const refused = [...new Set([...refusedOf(before), ...refusedOf(after)])];
  const changes = compareWorlds(before, after);
  const ok = changes.length === 0;
  if (options.output) return { text: await formatOutput(options.output, { refused, changes: changes.map(toJson) }), ok };
  return { text: `${refused.map((line) => `note: ${line}\n`).join("")}${toText(changes)}`, ok };
}

async function loadSides(options: DiffOptions): Promise<{ before: World; after: World }> {
  const live = options.before === CLUSTER || options.after === CLUSTER;
  const pods = (options.pods?.length ?? 0) > 0 ? options.pods : live ? [CLUSTER] : [];
  const load = async (policies: string) => (await loadObjects({ ...options, policies: [policies], pods: [] })).flatMap(flattened);
  const [left, right, common] = await Promise.all([
    load(options.before),
    load(options.after),
    pods?.length === 0 ? [] : loadObjects({ ...options, policies: [], pods }),
  ]);
  const isOf = (kinds: readonly string[], { object }: SourcedObject) => kinds.includes(identityOf(object).kind);
  const isOwn = (one: SourcedObject) => isOf(POLICY_SIDE, one);
  // Workloads beside the policies belong to both sides, and so do the groups of blocks beside the pods, which a side may have others in place of.
  const shared = [
    ...common.flatMap(flattened).filter((one) => !isOf(policyKinds, one)),
    ...[...left, ...right].filter((one) => !isOwn(one)),
  ];
  return { before: createWorld([...shared, ...left.filter(isOwn)]), after: createWorld([...shared, ...right.filter(isOwn)]) };
}

function refusedOf({ policies }: World): string[] {
  return policies.flatMap(({ parsed, from, key }) =>
    parsed.issues
      .slice(0, 1)
      .map((issue) => `${key} is refused and has no effect: ${formatPlace(from.source, issue.path)} ${issue.message}`),
  );
}

const headings: Readonly<Record<ChangeKind, string>> = {
  denied: "Newly denied",
  allowed: "Newly allowed",
  l7: "Application rules changed",
};

/** Parties that a line names before it counts the rest. */
const NAMED = 6;

function names(parties: Change["from"]): string {
  const titles = parties.map(({ title }) => title);
  const shown = titles.slice(0, NAMED).join(", ");
  return titles.length > NAMED ? `${shown} and ${titles.length - NAMED} more` : shown;
}

function toText(changes: readonly Change[]): string {
  if (changes.length === 0) return "No difference: the same may talk to the same on the same ports.\n";
  const kinds: readonly ChangeKind[] = ["denied", "allowed", "l7"];
  return kinds
    .map((kind) => {
      const lines = changes.filter((one) => one.kind === kind).map(({ from, to, what }) => `  ${names(from)} → ${names(to)}: ${what}\n`);
      return lines.length === 0 ? "" : `${headings[kind]}\n${lines.join("")}`;
    })
    .join("");
}

function toJson({ kind, from, to, what, spans, after }: Change): unknown {
  const titles = (parties: Change["from"]) => parties.map(({ title }) => title);
  return { kind, from: titles(from), to: titles(to), what, spans, ...(after === undefined ? {} : { after }) };
}
