import { type Flow, type Policy, TrafficDirection } from "#api/gen/flow/flow_pb.ts";
import type { Denial, DenialQuestion, LearnedName, Names, PolicyNames } from "../names.ts";
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
  const allowances = new Map<number, Deciders>();
  let revision = names.policyRevision();
  const refresh = () => {
    const present = names.policyRevision();
    if (present !== revision || denials.size >= KEPT_ANSWERS) denials.clear();
    if (present !== revision || allowances.size >= KEPT_ANSWERS) allowances.clear();
    revision = present;
  };
  const denialOf = (question: DenialQuestion, reason: number, cookie: number): Denial => {
    refresh();
    const { endpointId, direction, remoteIdentity, protocol, port, name = "" } = question;
    const key = `${endpointId} ${direction} ${remoteIdentity} ${protocol} ${port} ${reason} ${cookie} ${name}`;
    let denial = denials.get(key);
    if (denial === undefined) {
      denial = askDenial(names, question, reason, cookie);
      denials.set(key, denial);
    }
    return denial;
  };
  return {
    allowed(flow, cookie) {
      refresh();
      const allowance = allowances.get(cookie) ?? decidersOf(names.policiesOf(cookie));
      // A cookie that nobody knows yet may be known in a moment.
      if (allowance.policies.length > 0) allowances.set(cookie, allowance);
      writeAllowed(flow, allowance);
    },
    denied(flow, question, reason, cookie) {
      const ip = flow.IP?.destination ?? "";
      const learned = question.direction === "egress" ? names.learnedName?.(question.endpointId, ip) : undefined;
      const denial = denialOf(learned === undefined ? question : { ...question, name: learned.name }, reason, cookie);
      nameDenied(flow, learned === undefined ? denial : { ...denial, lines: [...denial.lines, nameLine(ip, learned, Date.now())] });
    },
  };
}

/** For rules by name: which name's address it was, since policy sees the address alone. */
function nameLine(ip: string, { name, until }: LearnedName, now: number): string {
  const time = new Date(until).toISOString();
  if (until > now) return `${ip} is ${name} for this pod until ${time}`;
  return `${ip} was ${name} for this pod until ${time}: nothing begins after the time of the answer, what has begun goes on`;
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

/** Who decided something, as messages. */
interface Deciders {
  readonly policies: Policy[];
  readonly logs: string[];
}

function decidersOf(rules: readonly PolicyNames[]): Deciders {
  return { policies: policyMessages(rules), logs: policyLogs(rules) };
}

function writeAllowed(flow: Flow, { policies, logs }: Deciders): void {
  if (policies.length === 0) return;
  if (flow.trafficDirection === TrafficDirection.EGRESS) flow.egressAllowedBy = policies;
  else flow.ingressAllowedBy = policies;
  flow.policyLog = logs;
}

/** Writes the rules into `*_allowed_by` of the flow's direction. */
export function nameAllowed(flow: Flow, rules: readonly PolicyNames[]): void {
  writeAllowed(flow, decidersOf(rules));
}

const deciders = new WeakMap<Denial, Deciders>();

/** Writes the policies into `*_denied_by` of the flow's direction, and the whole answer into the flow's extension. */
export function nameDenied(flow: Flow, denial: Denial): void {
  const egress = flow.trafficDirection === TrafficDirection.EGRESS;
  if (denial.policies.length > 0) {
    const { policies, logs } = deciders.get(denial) ?? decidersOf(denial.policies);
    deciders.set(denial, { policies, logs });
    if (egress) flow.egressDeniedBy = policies;
    else flow.ingressDeniedBy = policies;
    flow.policyLog = logs;
  }
  if (denial.policies.length > 0 || denial.lines.length > 0) flow.extensions = explanationAny(denial, egress ? "egress" : "ingress");
}

function policyLogs(rules: readonly PolicyNames[]): string[] {
  const logs = rules.flatMap((rule) => (rule.log === undefined || rule.log === "" ? [] : [rule.log]));
  return [...new Set(logs)];
}
