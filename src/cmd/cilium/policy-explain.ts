import { stringify } from "yaml";
import type { HttpExplanation } from "#policy/explain/http.ts";
import { formatFlowPort } from "#policy/explain/near-miss.ts";
import type { HttpRequest } from "#policy/l7/http.ts";
import { formatRuleRef, type PolicyRef, policyKey, type RuleRef } from "#policy/rule.ts";
import { auditPlaces } from "#policy/world/audit.ts";
import { type Connection, type Judgement, judge, parsePort, type Side, targetOf } from "#policy/world/connection.ts";
import { type Found, findParty } from "#policy/world/find.ts";
import { formatPlace } from "#policy/world/objects.ts";
import type { Party } from "#policy/world/party.ts";
import { type Remedy, remedyFor } from "#policy/world/remedy.ts";
import type { World } from "#policy/world/world.ts";
import { CodedError } from "#runtime/errors.ts";
import { formatOutput } from "./output.ts";
import { loadWorld, type WorldOptions } from "./world.ts";

/** The question cannot be answered: an end that is nobody, a port that is none. */
export class ExplainError extends CodedError {}

export interface ExplainOptions extends WorldOptions {
  readonly from: string;
  readonly to: string;
  readonly port: string;
  readonly method?: string | undefined;
  readonly path?: string | undefined;
  readonly host?: string | undefined;
  readonly headers?: readonly string[] | undefined;
  /** False: no patch is looked for. */
  readonly patch: boolean;
  readonly output?: string | undefined;
}

/** Pairs that one answer explains; replicas that differ for policies make more than one. */
const MOST_PAIRS = 16;

/** `policy explain`. `ok` is false when a connection is denied. Rejects when the question names nobody or the world cannot be read. */
export async function policyExplain(options: ExplainOptions): Promise<{ readonly text: string; readonly ok: boolean }> {
  const world = await loadWorld(options);
  const answers = explainAll(world, options);
  const ok = answers.pairs.every(({ judgement }) => judgement.allowed);
  if (options.output) return { text: await formatOutput(options.output, toJson(world, answers)), ok };
  return {
    text: `${[...answers.notes.map((note) => `note: ${note}`), ...answers.pairs.map((one) => toText(world, one, options.patch))].join("\n")}`,
    ok,
  };
}

interface Answer {
  readonly connection: Connection;
  readonly note: string | undefined;
  readonly judgement: Judgement;
  readonly remedy: Remedy | undefined;
}

interface Answers {
  readonly notes: readonly string[];
  readonly pairs: readonly Answer[];
}

function explainAll(world: World, options: ExplainOptions): Answers {
  const [from, to] = [known(world, "--from", options.from), known(world, "--to", options.to)];
  const asked = parsePort(options.port);
  if (asked === undefined)
    throw new ExplainError("bad-port", `--port: found "${options.port}", needed is one such as 80, 53/udp, http or 8/icmp`);
  const pairs = from.parties.flatMap((source) => to.parties.map((target) => [source, target] as const));
  const notes = [...from.notes, ...to.notes, ...policiesWithoutEffect(world), ...auditedPlaces(world)];
  if (pairs.length > MOST_PAIRS) notes.push(`${pairs.length} pairs of pods differ for policies; the first ${MOST_PAIRS} are shown`);
  const shown = pairs.slice(0, MOST_PAIRS).map(([source, target]): Answer => {
    const end = targetOf(asked, target, to.service);
    if ("problem" in end) throw new ExplainError("bad-port", end.problem);
    const connection = { from: source, to: target, protocol: end.protocol, port: end.port, http: requestOf(options, target) };
    const remedy = options.patch ? remedyFor(world, connection) : undefined;
    return { connection, note: "note" in end ? end.note : undefined, judgement: judge(world, connection), remedy };
  });
  return { notes: [...new Set(notes)], pairs: shown };
}

function known(world: World, flag: string, text: string): Exclude<Found, { problem: string }> {
  const found = findParty(world, text);
  if ("problem" in found) throw new ExplainError("nobody", `${flag}: ${found.problem}`);
  return found;
}

function requestOf({ method, path, host, headers = [] }: ExplainOptions, to: Party): HttpRequest | undefined {
  if (method === undefined && path === undefined && host === undefined && headers.length === 0) return undefined;
  const pairs = headers.map((text) => [text.split(":")[0]?.trim() ?? "", text.slice(text.indexOf(":") + 1).trim()] as const);
  return { method: method ?? "GET", path: path ?? "/", host: host ?? to.title.split("/").at(-1) ?? "", headers: pairs };
}

/** Policies that are refused, or in audit mode, have no effect, which may be the very reason somebody asks. */
function policiesWithoutEffect({ policies }: World): string[] {
  return policies.flatMap(({ parsed, from, key }) => {
    const [issue] = parsed.issues;
    if (parsed.audit && issue === undefined) return [`${key} is in audit mode: it denies nothing, and is left out here`];
    if (issue === undefined) return [];
    const place = formatPlace(from.source, issue.path);
    return [`${key} is refused and has no effect: ${place.includes(issue.path) ? place : `${place} ${issue.path}`}: ${issue.message}`];
  });
}

/** Where all that is denied passes, and is only reported: everywhere, in some namespaces, or at some pods. */
function auditedPlaces({ objects }: World): string[] {
  return auditPlaces(objects).map(({ scope, title, problem, end }) => {
    if (problem !== undefined) return `${title}: ${problem}`;
    const whose = { agents: "all", namespace: "its pods'", pod: "its" }[scope];
    return `${title} is in audit mode: what ${whose} policies deny passes, and is reported; ${end} ends that`;
  });
}

function toText(world: World, { connection, note, judgement, remedy }: Answer, looked: boolean): string {
  const { from, to } = connection;
  const lines = [`${from.title} → ${to.title} ${portText(connection)}: ${judgement.allowed ? "ALLOWED" : "DENIED"}`];
  if (note !== undefined) lines.push(`  ${note}`);
  if (judgement.itself) return `${[...lines, `  ${itselfText(note !== undefined)}`].join("\n")}\n`;
  if (mayBeItself(connection)) lines.push("  between replicas; what a pod sends to its own address does not leave the pod, and passes");
  lines.push(
    ...sideText(world, judgement.egress, `egress of ${from.title}`, from),
    ...sideText(world, judgement.ingress, `ingress of ${to.title}`, to),
  );
  return `${lines.join("\n")}\n${looked ? remedyText(judgement, remedy) : ""}`;
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

function sideText(world: World, side: Side | undefined, title: string, own: Party): string[] {
  if (side === undefined) {
    const why = own.kind === "node" ? "no policy applies to nodes: the host firewall is off" : "no policy applies outside the cluster";
    return [`  ${title}: allowed`, `    ${why}`];
  }
  const { explanation, allowed } = side;
  const lines = [`  ${title}: ${allowed ? "allowed" : "denied"}`, ...decisionText(world, side)];
  const { http, nearest } = explanation;
  const proxy = explanation.verdict.verdict === "redirected" ? explanation.verdict.entry?.proxy : undefined;
  if (proxy?.parser === "crd")
    lines.push(`    the connection is reset: nobody serves listener ${proxy.key.slice("crd:".length)}, as no Envoy runs here`);
  else if (http !== undefined) lines.push(...requestText(world, http));
  else if (explanation.verdict.verdict === "redirected")
    lines.push("    application rules decide about each request: ask with --method and --path");
  for (const { origin, reasons } of [...nearest, ...(http?.nearest ?? [])]) {
    lines.push(`    near miss: ${ruleText(world, origin)}`, ...reasons.map((reason) => `      ${reason}`));
  }
  return lines;
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

function remedyText({ allowed, egress, ingress }: Judgement, remedy: Remedy | undefined): string {
  if (remedy === undefined) return allowed || (egress === undefined && ingress === undefined) ? "" : "no patch found that allows it\n";
  const what = remedy.verb === "allow" ? "To allow it" : "To deny it";
  const how = `${what}, apply this (tried: the verdict is then ${remedy.verb === "allow" ? "ALLOWED" : "DENIED"}):`;
  return `\n# ${how}\n${remedy.summary.map((line) => `#   ${line}\n`).join("")}${yamlOf(remedy)}`;
}

const yamlOf = ({ objects }: Remedy) => objects.map((object) => stringify(object, { aliasDuplicateObjects: false })).join("---\n");

function toJson(world: World, { notes, pairs }: Answers): unknown {
  const rule = (ref: RuleRef) => ({ ...ref, place: world.placeOf(ref) });
  const misses = (nearest: HttpExplanation["nearest"]) => nearest.map(({ origin, reasons }) => ({ rule: rule(origin), reasons }));
  const side = (one: Side | undefined) =>
    one && {
      verdict: one.allowed ? "allowed" : "denied",
      viaProxy: one.explanation.verdict.verdict === "redirected",
      decidedBy: one.explanation.decidedBy.map(rule),
      defaultDenyBy: one.explanation.defaultDenyBy.map((ref) => ({ ...ref, place: policyPlace(world, ref) })),
      nearest: misses([...one.explanation.nearest, ...(one.explanation.http?.nearest ?? [])]),
      lines: one.explanation.lines,
    };
  return {
    notes,
    connections: pairs.map(({ connection, note, judgement, remedy }) => ({
      from: connection.from.title,
      to: connection.to.title,
      protocol: connection.protocol,
      port: connection.port,
      ...(connection.http === undefined ? {} : { http: connection.http }),
      ...(note === undefined ? {} : { note }),
      verdict: judgement.allowed ? "allowed" : "denied",
      ...(judgement.itself ? { reason: itselfText(note !== undefined) } : {}),
      egress: side(judgement.egress) ?? null,
      ingress: side(judgement.ingress) ?? null,
      patch: remedy === undefined ? null : { ...remedy, yaml: yamlOf(remedy) },
    })),
  };
}
