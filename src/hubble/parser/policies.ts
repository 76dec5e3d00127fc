import { type Flow, TrafficDirection } from "#api/gen/flow/flow_pb.ts";
import type { Denial, DenialQuestion, Names, PolicyNames } from "../names.ts";
import { explanationAny } from "./explanation.ts";
import { suggestFix } from "./fix.ts";
import { policyMessages } from "./messages.ts";

const KEPT_ANSWERS = 4096;
const DENY_RULE = 181;

/** Who allowed or denied, asked of `Names` once per question while the policy stays as it is. */
export interface PolicyBook {
  /** Names the rules of a cookie as those that allowed the flow. */
  allowed(flow: Flow, cookie: number): void;
  /** Names the policies that denied the flow and why. `reason` is the drop reason, `cookie` that of the entry that decided. */
  denied(flow: Flow, question: DenialQuestion, reason: number, cookie: number): void;
}

/** A book over `names`. It forgets everything when `policyRevision` changes. */
export function createPolicyBook(names: Names): PolicyBook {
  const denials = new Map<string, Denial>();
  let revision = names.policyRevision();
  const denialOf = (question: DenialQuestion, reason: number, cookie: number): Denial => {
    const present = names.policyRevision();
    if (present !== revision || denials.size >= KEPT_ANSWERS) denials.clear();
    revision = present;
    const { endpointId, direction, remoteIdentity, protocol, port } = question;
    const key = `${endpointId} ${direction} ${remoteIdentity} ${protocol} ${port} ${reason} ${cookie}`;
    let denial = denials.get(key);
    if (denial === undefined) {
      denial = askDenial(names, question, reason, cookie);
      denials.set(key, denial);
    }
    return denial;
  };
  return {
    allowed(flow, cookie) {
      nameAllowed(flow, names.policiesOf(cookie));
    },
    denied(flow, question, reason, cookie) {
      nameDenied(flow, denialOf(question, reason, cookie));
    },
  };
}

/**
 * The cookie says which rule the packet met; the engine says why, for the policy of this moment. When the policy has changed
 * since, and would allow it now, the cookie's rules stand alone.
 */
function askDenial(names: Names, question: DenialQuestion, reason: number, cookie: number): Denial {
  const byCookie = names.policiesOf(cookie);
  const explained = names.explainDenial(question);
  if (explained === undefined) return { policies: byCookie, lines: [], nearest: [] };
  const denyRule = reason === DENY_RULE && byCookie.length > 0;
  const policies = denyRule || explained.policies.length === 0 ? byCookie : explained.policies;
  const fix = explained.fix ?? suggestFix(names, question, reason === DENY_RULE ? policies : []);
  return { ...explained, policies, ...(fix === undefined ? {} : { fix }) };
}

/** Writes the rules into `*_allowed_by` of the flow's direction. */
export function nameAllowed(flow: Flow, rules: readonly PolicyNames[]): void {
  if (rules.length === 0) return;
  if (flow.trafficDirection === TrafficDirection.EGRESS) flow.egressAllowedBy = policyMessages(rules);
  else flow.ingressAllowedBy = policyMessages(rules);
  flow.policyLog = policyLogs(rules);
}

/** Writes the policies into `*_denied_by` of the flow's direction, and the whole answer into the flow's extension. */
export function nameDenied(flow: Flow, denial: Denial): void {
  const egress = flow.trafficDirection === TrafficDirection.EGRESS;
  if (denial.policies.length > 0) {
    if (egress) flow.egressDeniedBy = policyMessages(denial.policies);
    else flow.ingressDeniedBy = policyMessages(denial.policies);
    flow.policyLog = policyLogs(denial.policies);
  }
  if (denial.policies.length > 0 || denial.lines.length > 0) flow.extensions = explanationAny(denial, egress ? "egress" : "ingress");
}

function policyLogs(rules: readonly PolicyNames[]): string[] {
  const logs = rules.flatMap((rule) => (rule.log === undefined || rule.log === "" ? [] : [rule.log]));
  return [...new Set(logs)];
}
