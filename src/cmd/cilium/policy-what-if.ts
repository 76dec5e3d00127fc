import type { Observations } from "#policy/replay/observed.ts";
import { proposedWorld } from "#policy/replay/proposed.ts";
import { type Group, type WhatIf, whatIf } from "#policy/replay/what-if.ts";
import { policyKey } from "#policy/rule.ts";
import { identityOf, type SourcedObject } from "#policy/world/objects.ts";
import { createWorld, type World } from "#policy/world/world.ts";
import { CodedError } from "#runtime/errors.ts";
import { type FlowOptions, readTraffic } from "./flow-input.ts";
import { readObjects } from "./object-files.ts";
import { formatOutput, formatTable } from "./output.ts";
import { loadWorld, type WorldOptions } from "./world.ts";

/** The question makes no sense: nothing would change, or a proposed policy is refused. */
export class WhatIfError extends CodedError {}

export interface WhatIfOptions extends WorldOptions, FlowOptions {
  /** Policies that would be gone. */
  readonly remove: readonly string[];
  readonly output?: string | undefined;
}

/** `policy what-if`. `ok` is false when something that worked would be denied. Rejects when there is no answer. */
export async function policyWhatIf(
  files: readonly string[],
  options: WhatIfOptions,
): Promise<{ readonly text: string; readonly ok: boolean }> {
  if (files.length === 0 && options.remove.length === 0)
    throw new WhatIfError("nothing", "name files with policies, or policies to --remove");
  const before = await loadWorld(worldOptionsOf(options));
  const after = changed(before, readObjects(files), options.remove);
  const observations = await readTraffic(options);
  const result = whatIf(before, after, observations.list());
  const ok = result.denied.length === 0;
  if (options.output) return { text: await formatOutput(options.output, { ...result, ...recordOf(observations) }), ok };
  return { text: textOf(result, observations), ok };
}

/** With flows from a file and nothing else named, nobody has to have a cluster. */
function worldOptionsOf(options: WhatIfOptions): WhatIfOptions {
  const { policies = [], pods = [] } = options;
  const filesAlone =
    options.flows.length > 0 && policies.length + pods.length === 0 && process.env.KUBECONFIG === undefined && !options.kubeconfig;
  return filesAlone ? { ...options, policies: ["/dev/null"] } : options;
}

/** The world after the change. Throws when a proposed policy is refused, or one to remove is not there. */
function changed(before: World, proposed: readonly SourcedObject[], remove: readonly string[]): World {
  const gone = new Set(remove.map((name) => keyOf(before, name)));
  const kept = before.objects.filter(({ object }) => !gone.has(keyOfObject(object)));
  const after = proposedWorld(kept, proposed);
  const names = new Set(createWorld(proposed).policies.map(({ key }) => key));
  if (names.size === 0 && remove.length === 0) throw new WhatIfError("no-policy", "there is no network policy in the files");
  for (const key of names) {
    const [issue] = after.policy(key)?.parsed.issues ?? [];
    if (issue) throw new WhatIfError("refused", `${key} is refused: ${issue.path}: ${issue.message}`);
  }
  return after;
}

function keyOfObject(object: unknown): string {
  const { kind, namespace, name } = identityOf(object);
  const isNamespaced = kind === "CiliumNetworkPolicy" || kind === "NetworkPolicy";
  return policyKey({ kind, namespace: isNamespaced ? namespace || "default" : "", name });
}

function keyOf(world: World, wanted: string): string {
  const fits = ({ key, parsed: { ref } }: World["policies"][number]) =>
    wanted === ref.name || wanted === `${ref.namespace}/${ref.name}` || wanted.toLowerCase() === key.toLowerCase();
  const [found, ...more] = world.policies.filter(fits);
  if (found === undefined) throw new WhatIfError("no-policy", `--remove ${wanted}: there is no such policy`);
  if (more.length > 0) {
    const keys = [found, ...more].map(({ key }) => key).join(", ");
    throw new WhatIfError("ambiguous", `--remove ${wanted}: several policies are called so: ${keys}`);
  }
  return found.key;
}

function recordOf({ flows, leftOut }: Observations) {
  return { flows, leftOut: Object.fromEntries(leftOut) };
}

function textOf(result: WhatIf, observations: Observations): string {
  const sections = [
    section("Newly denied", result.denied),
    section("Newly allowed", result.allowed),
    section("Uncertain", result.uncertain),
  ].filter((text) => text !== "");
  const { denied, unchanged, contradictions } = result;
  const summary = [
    `${observations.flows} flows replayed: ${unchanged} connections and requests fare as before, ${denied.length} would break.`,
    ...leftOutLine(observations),
    ...(contradictions > 0
      ? [`${contradictions} were recorded under other policies than those of before: their records say otherwise.`]
      : []),
  ];
  return [...sections, summary.map((line) => `${line}\n`).join("")].join("\n");
}

/** How many records say nothing, and why. */
function leftOutLine({ leftOut }: Observations): string[] {
  const reasons = [...leftOut].map(([reason, count]) => `${count} ${reason}`);
  return reasons.length === 0 ? [] : [`Left out: ${reasons.join(", ")}.`];
}

function section(title: string, groups: readonly Group[]): string {
  if (groups.length === 0) return "";
  const rows = groups.map(({ from, to, port, flows, last }) => [
    `  ${from}`,
    "→",
    to,
    port,
    `${flows} flows`,
    last > 0 ? new Date(last).toISOString() : "",
  ]);
  const lines = formatTable([], rows).split("\n");
  const details = groups.map(({ requests, why }, i) => [lines[i], ...requests.map((one) => `      ${one}`), `      ${why}`].join("\n"));
  return `${title}:\n${details.join("\n")}\n`;
}
