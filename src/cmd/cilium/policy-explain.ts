import type { HttpRequest } from "#policy/l7/http.ts";
import { auditPlaces } from "#policy/world/audit.ts";
import { type Outcome, outcomeOf, remedyForAudited } from "#policy/world/audited.ts";
import { casesOf, type Lookup } from "#policy/world/cases.ts";
import { type Connection, type Judgement, judge, type PortQuestion, parsePort, targetOf } from "#policy/world/connection.ts";
import { type Found, findParty } from "#policy/world/find.ts";
import { behindNodePort, forwarder } from "#policy/world/node-port.ts";
import { formatPlace } from "#policy/world/objects.ts";
import type { Party } from "#policy/world/party.ts";
import { type Remedy, remedyFor } from "#policy/world/remedy.ts";
import type { WorldService } from "#policy/world/services.ts";
import type { World } from "#policy/world/world.ts";
import { CodedError, errorMessage } from "#runtime/errors.ts";
import { protocolNumber } from "#types/proto.ts";
import { formatOutput } from "./output.ts";
import { toJson, toText } from "./policy-explain-text.ts";
import { auditedPods, podLookups } from "./policy-live.ts";
import { hasAgents, loadWorld, type WorldOptions } from "./world.ts";

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

const SNAT =
  "a node that gets a connection from outside for a pod of another node puts its own address in the client's place, unless the service has externalTrafficPolicy: Local";

/** Pairs that one answer explains; replicas that differ for policies make more than one. */
const MOST_PAIRS = 16;

/** `policy explain`. `ok` is false when a connection is denied; what audit mode lets pass is not. Rejects when the question names nobody or the world cannot be read. */
export async function policyExplain(options: ExplainOptions): Promise<{ readonly text: string; readonly ok: boolean }> {
  const world = await loadWorld(options);
  const answers = await explainAll(world, options);
  const ok = answers.pairs.every(({ outcome }) => outcome.verdict !== "denied");
  if (options.output) return { text: await formatOutput(options.output, toJson(world, answers)), ok };
  return {
    text: `${[...answers.notes.map((note) => `note: ${note}`), ...answers.pairs.map((one) => toText(world, one, options.patch))].join("\n")}`,
    ok,
  };
}

/** What is answered of one pair. */
export interface Answer {
  readonly connection: Connection;
  readonly note: string | undefined;
  readonly judgement: Judgement;
  readonly outcome: Outcome;
  readonly remedy: Remedy | undefined;
}

export interface Answers {
  readonly notes: readonly string[];
  readonly pairs: readonly Answer[];
}

async function explainAll(world: World, options: ExplainOptions): Promise<Answers> {
  const from = known(world, "--from", options.from);
  const { to, asked } = targetAsked(world, options);
  checkRequest(options, asked);
  const question = { world, asked, service: to.service, options };
  const { lookups, notes: unread } = await lookupsFor(question, to.parties);
  const forwarded = from.parties.flatMap((source) => forwarder(world, source, to.service, asked.protocol ?? protocolNumber.TCP) ?? []);
  const cases = [...from.parties, ...forwarded].flatMap((source) =>
    to.parties.map((target) => {
      const answerFor = (party: Party) => kindOf(judge(world, { ...connectionOf(question, source, party).connection, brief: true }));
      return { source, ...casesOf(world, source, target, lookups, answerFor) };
    }),
  );
  const pairs = cases.flatMap(({ source, parties }) => parties.map((target) => [source, target] as const));
  const more = pairs.length > MOST_PAIRS ? [`${pairs.length} pairs differ for policies; the first ${MOST_PAIRS} are shown`] : [];
  const judged = pairs.slice(0, MOST_PAIRS).map(([source, target]) => {
    const { connection, note } = connectionOf(question, source, target);
    return { connection, note, judgement: judge(world, connection) };
  });
  const audited = judged.some(({ judgement }) => !judgement.allowed) ? await auditedEndpoints(options) : new Set<string>();
  const shown = judged.map(({ connection, note, judgement }): Answer => {
    const outcome = outcomeOf(world, connection, judgement, audited);
    const look = outcome.verdict === "audit" ? remedyForAudited : remedyFor;
    return { connection, note, judgement, outcome, remedy: options.patch ? look(world, connection) : undefined };
  });
  const notes = [
    from.notes,
    to.notes,
    forwarded.length > 0 ? [SNAT] : [],
    unread,
    cases.flatMap((one) => one.notes),
    policiesWithoutEffect(world),
    auditedPlaces(world),
    more,
  ];
  return { notes: [...new Set(notes.flat())], pairs: shown };
}

interface Question {
  readonly world: World;
  readonly asked: PortQuestion;
  readonly service: WorldService | undefined;
  readonly options: ExplainOptions;
}

/** Who is asked for, and on which port: a node port is one of its service. */
function targetAsked(world: World, { to, port }: ExplainOptions): { readonly to: Known; readonly asked: PortQuestion } {
  const asked = parsePort(port);
  if (asked === undefined) throw new ExplainError("bad-port", `--port: found "${port}", needed is one such as 80, 53/udp, http or 8/icmp`);
  const found = known(world, "--to", to);
  const behind = behindNodePort(world, found, asked);
  if (behind === undefined) return { to: found, asked };
  if ("problem" in behind.found) throw new ExplainError("nobody", `--to: ${behind.found.problem}`);
  const { service, notes } = behind.found;
  const note = `port ${asked.port} of the nodes is a node port of service ${service?.namespace}/${service?.name}`;
  return { to: { ...behind.found, notes: [note, ...notes] }, asked: behind.asked };
}

function connectionOf({ asked, service, options }: Question, from: Party, to: Party) {
  const end = targetOf(asked, to, service, from);
  if ("problem" in end) throw new ExplainError("bad-port", end.problem);
  const connection: Connection = { from, to, protocol: end.protocol, port: end.port, http: requestOf(options, to) };
  return { connection, note: end.note };
}

/** What is the same answer for somebody who asks. */
function kindOf({ allowed, egress, ingress }: Judgement): string {
  return [allowed, egress?.explanation.verdict.verdict, ingress?.explanation.verdict.verdict].join();
}

/** What pods have resolved, where the answer may depend on that; undefined lookups where there are no agents, or none that answers. */
async function lookupsFor(
  { world, options }: Question,
  parties: readonly Party[],
): Promise<{ readonly lookups: readonly Lookup[] | undefined; readonly notes: readonly string[] }> {
  const depends = parties.some(
    (one) => one.kind === "outside" && (one.name !== undefined || (one.address !== undefined && world.repo.fqdns().length > 0)),
  );
  if (!depends || !hasAgents(options)) return { lookups: undefined, notes: [] };
  try {
    return { lookups: await podLookups(options), notes: [] };
  } catch (thrown) {
    return { lookups: undefined, notes: [`what pods have resolved cannot be asked of the agents: ${errorMessage(thrown)}`] };
  }
}

/** The pods that agents have in audit mode: an endpoint may be put in it by hand. Annotations are known anyway, so silent agents are no error. */
async function auditedEndpoints(options: ExplainOptions): Promise<ReadonlySet<string>> {
  return hasAgents(options) ? auditedPods(options).catch(() => new Set<string>()) : new Set();
}

type Known = Exclude<Found, { problem: string }>;

function known(world: World, flag: string, text: string): Known {
  const found = findParty(world, text);
  if ("problem" in found) throw new ExplainError("nobody", `${flag}: ${found.problem}`);
  return found;
}

function requestOf(options: ExplainOptions, to: Party): HttpRequest | undefined {
  if (!isRequest(options)) return undefined;
  const { method = "GET", path = "/", host = to.title.split("/").at(-1) ?? "", headers = [] } = options;
  const pairs = headers.map((text) => [text.split(":")[0]?.trim() ?? "", text.slice(text.indexOf(":") + 1).trim()] as const);
  return { method, path, host, headers: pairs };
}

function isRequest({ method, path, host, headers = [] }: ExplainOptions): boolean {
  return method !== undefined || path !== undefined || host !== undefined || headers.length > 0;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Throws for what is no request of HTTP: it would be denied for a reason that is none. */
function checkRequest(options: ExplainOptions, { protocol = protocolNumber.TCP }: PortQuestion): void {
  if (!isRequest(options)) return;
  const { method = "GET", path = "/", headers = [] } = options;
  const refuse = (flag: string, found: string, needed: string) => {
    throw new ExplainError("bad-request", `${flag}: found "${found}", needed is ${needed}`);
  };
  if (!TOKEN.test(method)) refuse("--method", method, "one such as GET");
  if (!/^(\/\S*|\*)$/.test(path)) refuse("--path", path, 'one that begins with "/"');
  for (const text of headers) if (!/^[^:]+:/.test(text) || !TOKEN.test(text.split(":")[0] ?? "")) refuse("--header", text, "name: value");
  if (protocol !== protocolNumber.TCP) refuse("--port", options.port, "one of TCP, as --method, --path, --host and --header ask for HTTP");
}

/** Policies that are refused, or in audit mode, have no effect, which may be the very reason somebody asks. */
function policiesWithoutEffect({ policies }: World): string[] {
  return policies.flatMap(({ parsed, from, key }) => {
    const [issue] = parsed.issues;
    if (parsed.audit && issue === undefined) return [`${key} is in audit mode: what it denies passes, and is reported`];
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
