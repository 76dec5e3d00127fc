import { fromBinary } from "@bufbuild/protobuf";
import { type Explanation, ExplanationSchema, type RuleRef } from "#api/gen/cilia/explanation_pb.ts";
import { type Flow, type Policy, Verdict } from "#api/gen/flow/flow_pb.ts";

const TYPE_NAME = "cilia.Explanation";

/** Our record of why, if the flow carries one. A record that cannot be read counts as none. */
export function explanationOf(flow: Flow): Explanation | undefined {
  const any = flow.extensions;
  if (any === undefined || !any.typeUrl.endsWith(`/${TYPE_NAME}`)) return undefined;
  try {
    return fromBinary(ExplanationSchema, any.value);
  } catch {
    return undefined;
  }
}

/** Why a denied flow was denied, a line each: `  Policy: ns/name (ingress) rule 0`, then reasons, near misses and what to do. */
export function explainLines(flow: Flow): string[] {
  if (flow.verdict !== Verdict.DROPPED && flow.verdict !== Verdict.AUDIT) return [];
  const explanation = explanationOf(flow);
  if (explanation === undefined) return [...policyLines(flow.ingressDeniedBy, "ingress"), ...policyLines(flow.egressDeniedBy, "egress")];
  const lines = explanation.rules.map((rule) => `  Policy: ${ruleText(rule)}`);
  for (const line of explanation.lines) lines.push(`    ${line}`);
  for (const { rule, reasons } of explanation.nearest) {
    if (rule !== undefined) lines.push(`    nearest: ${ruleText(rule)}${reasons.length === 0 ? "" : `: ${reasons.join("; ")}`}`);
  }
  if (explanation.fix !== "") lines.push(`    fix: ${explanation.fix}`);
  return lines;
}

/** Kinds may share names: what is no CiliumNetworkPolicy says its kind. */
function ruleText({ kind, namespace, name, direction, section, index, spec, line }: RuleRef): string {
  const place = namespace === "" ? name : `${namespace}/${name}`;
  const rule =
    index === undefined ? "" : ` rule ${index}${section.endsWith("Deny") ? ` of ${section}` : ""}${spec > 0 ? ` of spec ${spec}` : ""}`;
  const first = kind === "" || kind === "CiliumNetworkPolicy" ? "" : `${kind} `;
  return `${first}${place} (${direction})${rule}${line > 0 ? `, line ${line}` : ""}`;
}

function policyLines(policies: readonly Policy[], direction: string): string[] {
  return policies.map(({ namespace, name }) => `  Policy: ${namespace === "" ? name : `${namespace}/${name}`} (${direction})`);
}
