import { stringify } from "yaml";
import type { HttpExplanation } from "#policy/explain/http.ts";
import { formatFlowPort } from "#policy/explain/near-miss.ts";
import type { L7Parser } from "#policy/resolve/filter.ts";
import { formatRuleRef, type PolicyRef, policyKey, type RuleRef } from "#policy/rule.ts";
import type { AuditedSide, Outcome } from "#policy/world/audited.ts";
import type { Connection, Judgement, Side } from "#policy/world/connection.ts";
import { formatPlace } from "#policy/world/objects.ts";
import { blocksOf } from "#policy/world/outside.ts";
import type { Party } from "#policy/world/party.ts";
import type { Remedy } from "#policy/world/remedy.ts";
import type { World } from "#policy/world/world.ts";
import type { Answer, Answers } from "./policy-explain.ts";

const headings = { allowed: "ALLOWED", denied: "DENIED", audit: "AUDIT (it passes, and is reported)" } as const;

/** An answer for people. Without `looked` nobody looked for a patch. */
export function toText(world: World, { connection, note, judgement, outcome, remedy }: Answer, looked: boolean): string {
  const { from, to } = connection;
  const lines = [`${from.title} → ${to.title} ${portText(connection)}: ${headings[outcome.verdict]}`];
  if (note !== undefined) lines.push(`  ${note}`);
  if (judgement.itself) return `${[...lines, `  ${itselfText(note !== undefined)}`].join("\n")}\n`;
  if (mayBeItself(connection)) lines.push("  between replicas; what a pod sends to its own address does not leave the pod, and passes");
  lines.push(
    ...sideText(world, judgement.egress, outcome.egress, `egress of ${from.title}`, from),
    ...sideText(world, judgement.ingress, outcome.ingress, `ingress of ${to.title}`, to),
  );
  return `${lines.join("\n")}\n${looked ? remedyText(connection, judgement, outcome, remedy) : ""}`;
}

/** No policy is asked either way. */
function itselfText(byService: boolean): string {
  return byService ? "the service leads the pod back to itself, where no policy is asked" : "it does not leave the pod: no policy is asked";
}

/** Both ends have a pod in common, but not only that. */
function mayBeItself({ from, to }: Connection): boolean {
  return from.kind === "pod" && to.kind === "pod" && from.pods.some((one) => to.pods.includes(one));
}

function portText(connection: Connection): string {
  const { http } = connection;
  const port = formatFlowPort({ ...connection, direction: "ingress", identity: 0 as never });
  return http === undefined ? port : `${port} ${http.method} ${http.path}`;
}

function sideText(world: World, judged: Side | undefined, audited: AuditedSide | undefined, title: string, own: Party): string[] {
  if (judged === undefined) {
    const why = own.kind === "node" ? "no policy applies to nodes: the host firewall is off" : "no policy applies outside the cluster";
    return [`  ${title}: allowed`, `    ${why}`];
  }
  const side = audited?.side ?? judged;
  const { explanation, allowed } = side;
  const word = audited === undefined ? (allowed ? "allowed" : "denied") : "audit: would be denied";
  const lines = [`  ${title}: ${word}`, ...(audited === undefined ? [] : auditText(audited)), ...decisionText(world, side)];
  const { http, nearest } = explanation;
  const proxy = explanation.verdict.verdict === "redirected" ? explanation.verdict.entry?.proxy : undefined;
  if (proxy?.parser === "crd")
    lines.push(`    the connection is reset: nobody serves listener ${proxy.key.slice("crd:".length)}, as no Envoy runs here`);
  else if (http !== undefined) lines.push(...requestText(world, http));
  else if (explanation.verdict.verdict === "redirected") lines.push(`    ${requestsText(proxy?.parser)}`);
  for (const { origin, reasons } of [...nearest, ...(http?.nearest ?? [])]) {
    lines.push(`    near miss: ${ruleText(world, origin)}`, ...reasons.map((reason) => `      ${reason}`));
  }
  return lines;
}

function requestsText(parser: L7Parser | undefined): string {
  if (parser === "kafka") return "rules for Kafka decide about each request";
  if (parser === "dns") return "rules for DNS decide about each name that is asked for";
  if (parser === "tls") return "the server name that the client gives decides about each connection";
  return "application rules decide about each request: ask with --method and --path";
}

/** What keeps it from being denied, and what ends that. */
function auditText({ policies, places }: AuditedSide): string[] {
  return [
    ...policies.map(
      (key) => `    ${key} is in audit mode; this ends it: cilium policy promote ${key.split("/").slice(1).filter(Boolean).join("/")}`,
    ),
    ...places.map(({ title, end }) => `    ${title} is in audit mode; this ends it: ${end}`),
  ];
}

/** What decided at the level of ports, with the rules behind it. */
function decisionText(world: World, { explanation }: Side): string[] {
  const { verdict, decidedBy, defaultDenyBy, lines } = explanation;
  const rules = decidedBy.map((rule) => `      ${ruleText(world, rule)}`);
  if (rules.length > 0 && verdict.verdict !== "error") {
    const heading = { allowed: "allowed by", redirected: "sent through the proxy by", denied: deniedWords(decidedBy) };
    return [`    ${heading[verdict.verdict]}`, ...rules];
  }
  const policies = defaultDenyBy.map((policy) => `      ${policyText(policy)} at ${policyPlace(world, policy)}`);
  if (policies.length > 0) return ["    no policy allows it, and what none allows is denied by", ...policies];
  // The sentence without the flow that it speaks of, which the heading names.
  return lines.slice(0, 1).map((line) => `    ${line.slice(line.indexOf(": ") + 2)}`);
}

/** In a ClusterNetworkPolicy it is the order that decides. */
function deniedWords(rules: readonly RuleRef[]): string {
  return rules.some(({ kind }) => kind === "ClusterNetworkPolicy") ? "denied by" : "denied, which wins over every allow, by";
}

function requestText(world: World, { allowed, decidedBy }: HttpExplanation): string[] {
  if (!allowed) return ["    the proxy refuses the request with 403: no HTTP rule for this peer allows it"];
  return ["    the proxy lets the request through by", ...decidedBy.map((rule) => `      ${ruleText(world, rule)}`)];
}

function ruleText(world: World, rule: RuleRef): string {
  return `${formatRuleRef(rule)} at ${world.placeOf(rule) ?? "?"}`;
}

function policyText({ kind, namespace, name }: PolicyRef): string {
  return `${kind} ${namespace === "" ? "" : `${namespace}/`}${name}`;
}

function policyPlace(world: World, ref: PolicyRef): string {
  const policy = world.policy(policyKey(ref));
  return policy === undefined ? "?" : formatPlace(policy.from.source, "spec");
}

/** Why there is no patch, where that can be told. */
function noRemedyText({ allowed, egress, ingress }: Judgement, to: Party): string {
  if (egress === undefined && ingress === undefined) return "";
  const isName = to.kind === "outside" && to.name !== undefined && (to.address === undefined || !allowed);
  const why = isName ? ": rules that deny know addresses, not names; ask with --to ADDRESS" : "";
  return `no patch found that ${allowed ? "denies" : "allows"} it${why}\n`;
}

function remedyText({ to }: Connection, judgement: Judgement, { verdict }: Outcome, remedy: Remedy | undefined): string {
  if (remedy === undefined) return noRemedyText(judgement, to);
  const what = { allow: verdict === "audit" ? "To have it allowed when audit mode ends" : "To allow it", deny: "To deny it" }[remedy.verb];
  const then = `the verdict is then ${remedy.verb === "allow" ? "ALLOWED" : "DENIED"}`;
  const how = `${what}, apply this (tried: ${then}):`;
  return `\n# ${how}\n${remedy.summary.map((line) => `#   ${line}\n`).join("")}${yamlOf(remedy)}`;
}

const yamlOf = ({ objects }: Remedy) => objects.map((object) => stringify(object, { aliasDuplicateObjects: false })).join("---\n");

/** The same as data. */
export function toJson(world: World, { notes, pairs }: Answers): unknown {
  const rule = (ref: RuleRef) => ({ ...ref, place: world.placeOf(ref) });
  const misses = (nearest: HttpExplanation["nearest"]) => nearest.map(({ origin, reasons }) => ({ rule: rule(origin), reasons }));
  const side = (judged: Side | undefined, audited: AuditedSide | undefined) => {
    const one = audited?.side ?? judged;
    return (
      one && {
        verdict: audited === undefined ? (one.allowed ? "allowed" : "denied") : "audit",
        ...(audited === undefined
          ? {}
          : { auditedPolicies: audited.policies, auditedPlaces: audited.places.map(({ title, end }) => ({ title, end })) }),
        viaProxy: one.explanation.verdict.verdict === "redirected",
        decidedBy: one.explanation.decidedBy.map(rule),
        defaultDenyBy: one.explanation.defaultDenyBy.map((ref) => ({ ...ref, place: policyPlace(world, ref) })),
        nearest: misses([...one.explanation.nearest, ...(one.explanation.http?.nearest ?? [])]),
        lines: one.explanation.lines,
      }
    );
  };
  return {
    notes,
    connections: pairs.map(({ connection, note, judgement, outcome, remedy }) => ({
      from: connection.from.title,
      to: connection.to.title,
      ...addressesOf(connection.to),
      protocol: connection.protocol,
      port: connection.port,
      ...(connection.http === undefined ? {} : { http: connection.http }),
      ...(note === undefined ? {} : { note }),
      verdict: outcome.verdict,
      ...(judgement.itself ? { reason: itselfText(note !== undefined) } : {}),
      egress: side(judgement.egress, outcome.egress) ?? null,
      ingress: side(judgement.ingress, outcome.ingress) ?? null,
      patch: remedy === undefined ? null : { ...remedy, yaml: yamlOf(remedy) },
    })),
  };
}

/** What stands for somebody outside in CIDR rules, where it is not the title itself. */
function addressesOf(party: Party): { readonly addresses?: readonly string[] } {
  const blocks = party.kind === "outside" && party.name !== undefined ? blocksOf(party) : [];
  return blocks.length === 0 ? {} : { addresses: blocks };
}
