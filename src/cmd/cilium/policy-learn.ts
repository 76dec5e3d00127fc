import { Document, isMap, isSeq } from "yaml";
import { type LearnedPolicy, type LearnedRule, learn, objectOf } from "#policy/replay/learn.ts";
import type { Observations } from "#policy/replay/observed.ts";
import { type Proof, prove } from "#policy/replay/prove.ts";
import { FlowInputError, type FlowOptions, readTraffic } from "./flow-input.ts";
import { formatOutput } from "./output.ts";

export interface LearnOptions extends FlowOptions {
  /** The namespace to learn for; absent: all but kube-system. */
  readonly wanted?: string | undefined;
  readonly output?: string | undefined;
}

/** `policy learn`: policies as YAML with the proof before them as comments. `ok` is false when the proof does not hold. */
export async function policyLearn(options: LearnOptions): Promise<{ readonly text: string; readonly ok: boolean }> {
  const { wanted } = options;
  const observations = await readTraffic(options);
  const observed = observations.list();
  const learned = learn(observed, (namespace) => (wanted === undefined ? namespace !== "kube-system" : namespace === wanted));
  if (learned.policies.length === 0) {
    const where = wanted === undefined ? "outside kube-system" : `of namespace ${wanted}`;
    throw new FlowInputError("no-data", `nothing to learn: none of the ${observations.flows} flows is to or from a pod ${where}`);
  }
  const proof = prove(learned, observed);
  const ok = proof.holds;
  if (options.output && options.output !== "yaml") {
    return { text: await formatOutput(options.output, { policies: learned.policies.map(objectOf), proof }), ok };
  }
  const comments = [...headOf(learned.policies, observations), ...proofLines(proof)].map((line) => `# ${line}\n`).join("");
  return { text: `${comments}${learned.policies.map(yamlOf).join("")}`, ok };
}

function headOf(policies: readonly LearnedPolicy[], { flows }: Observations): string[] {
  const rules = policies.reduce((sum, { ingress, egress }) => sum + ingress.length + egress.length, 0);
  return [`Learned from ${flows} flows: ${policies.length} policies, ${rules} rules.`];
}

/** What the proof says, for people. */
function proofLines({ replayed, missing, varied, unintended, holds }: Proof): string[] {
  return [
    `Replayed ${replayed} connections and requests that were seen: ${missing.length === 0 ? "all allowed" : `${missing.length} DENIED`}.`,
    ...missing.map((one) => `  denied: ${one}`),
    `Tried ${varied} variations that were not seen: ${unintended.length === 0 ? "all denied" : `${unintended.length} ALLOWED`}.`,
    ...unintended.map((one) => `  allowed: ${one}`),
    holds ? "The proof holds." : "The proof does NOT hold: look at these policies before you apply them.",
  ];
}

/** A policy as a YAML document that says beside each rule how often it was seen. */
function yamlOf(policy: LearnedPolicy): string {
  const document = new Document(objectOf(policy));
  for (const [section, rules] of [
    ["ingress", policy.ingress],
    ["egress", policy.egress],
  ] as const) {
    const list = document.getIn(["spec", section]);
    if (!isSeq(list)) continue;
    if (rules.length === 0) list.commentBefore = " nothing was seen: nothing is allowed";
    for (const [i, rule] of rules.entries()) {
      const item = list.items[i];
      if (isMap(item)) item.commentBefore = seen(rule);
    }
  }
  return `---\n${document.toString({ lineWidth: 140 })}`;
}

function seen({ flows, last }: LearnedRule): string {
  return ` seen ${flows} times${last > 0 ? `, the last at ${new Date(last).toISOString()}` : ""}`;
}
