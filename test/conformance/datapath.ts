import { DropReason } from "#datapath/gen/enums.ts";
import { policyEntryOf } from "#datapath/reconcile/policy-entry.ts";
import type { EndpointPolicy } from "#policy/resolve/resolve.ts";
import { decidingEntry, type Flow } from "#policy/resolve/verdict.ts";
import { PROXY_PORTS } from "#proxy/protocol.ts";
import { NumericIdentity } from "#types/identity.ts";
import { hasPorts, protocolNumber } from "#types/proto.ts";
import { type DataLine, type DataVerdict, readLines, type Scenario } from "./data.ts";
import { questionOf } from "./files.ts";
import { type Outcome, Recorder } from "./report.ts";
import { buildCluster, type Question, questionsOf } from "./scenarios.ts";
import { type KernelVerdict, Subject } from "./subject.ts";

/** Answers are collected when so many packets have been sent: the ring holds their records. */
const BATCH = 4000;
/** Authentication that the datapath asks for. */
const asksAuth = new Set(["spire", "test-always-fail"]);

type Sent = Question & { readonly id: string; readonly run: number; readonly engine: KernelVerdict };

/** Why a question can not be put to the datapath: counted, never compared. */
function unaskable({ flow, policy }: Question): string | undefined {
  if (policy.error !== undefined) return "rules that can not be merged never reach the kernel";
  const { protocol, port } = flow;
  const icmp = protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6;
  if (!icmp && !hasPorts(protocol)) return "protocols that the datapath forwards for nobody";
  if (protocol === protocolNumber.ICMPv6 && port >= 130 && port <= 137) return "neighbour discovery never passes between endpoints";
  return undefined;
}

/** What the kernel should say: the engine's deciding entry as the agent writes it. */
function engineVerdict(policy: EndpointPolicy, flow: Flow, cookies: Subject["cookies"]): KernelVerdict {
  const { enforced, defaultDenyBy } = policy[flow.direction];
  if (!enforced) return { verdict: 0, cookie: undefined };
  const entry = decidingEntry(policy, flow);
  if (entry === undefined) return { verdict: -DropReason.POLICY_DENIED, cookie: cookies.of(defaultDenyBy) };
  const { flags, authType, proxyPort, cookie } = policyEntryOf(entry, cookies, PROXY_PORTS);
  const verdict = flags !== 0 ? -DropReason.POLICY_DENY : authType !== 0 ? -DropReason.AUTH_REQUIRED : proxyPort;
  return { verdict, cookie };
}

/** The reference's answer in the datapath's terms; to which proxy, and why, is the engine's comparison. */
function wantedOf({ verdict, auth, redirect }: DataVerdict): string {
  if (verdict !== "allowed") return "denied";
  if (auth !== undefined && asksAuth.has(auth)) return "must authenticate";
  return redirect === undefined ? "allowed" : "redirected";
}

function saidOf({ verdict }: KernelVerdict): string {
  if (verdict === -DropReason.AUTH_REQUIRED) return "must authenticate";
  if (verdict < 0) return verdict === -DropReason.POLICY_DENIED || verdict === -DropReason.POLICY_DENY ? "denied" : `dropped (${-verdict})`;
  return verdict > 0 ? "redirected" : "allowed";
}

/** DNS rules that allow every name need no proxy: the redirect is left out. */
function meansTheSame(wanted: string, said: string, { redirect }: DataVerdict): boolean {
  return wanted === said || (wanted === "redirected" && said === "allowed" && redirect?.parser === "dns");
}

/**
 * Puts the questions of scenarios to the compiled datapath, with the policy maps that the agent makes of the engine's policies. All are put
 * to one pod; the node's own policies too, which the datapath looks at as at any other.
 */
export class DatapathConformance implements AsyncDisposable {
  readonly #subject = new Subject();
  #peers = 0;

  /** Runs the scenarios of the file at `path`. One that is not there is skipped with the reason, or fails when it was asked for. */
  async run(name: string, path: string | undefined, { given = false } = {}): Promise<Outcome> {
    const recorder = new Recorder(name);
    const unasked = new Map<string, number>();
    if (path === undefined) {
      if (given) recorder.refuse("is not there");
      const skipped = given ? {} : { skipped: "the data is not there; set CILIA_CONFORMANCE to its folder" };
      return { ...recorder.outcome(), unasked, ...skipped };
    }
    let sent: Sent[] = [];
    for (const line of readLines(path)) {
      const scenario = scenarioOf(line, recorder, unasked);
      if (scenario === undefined) continue;
      recorder.startCase();
      sent.push(...this.#send(scenario, unasked));
      if (sent.length < BATCH) continue;
      await this.#compare(sent, recorder);
      sent = [];
    }
    await this.#compare(sent, recorder);
    return { ...recorder.outcome(), unasked };
  }

  #send(scenario: Scenario, unasked: Map<string, number>): Sent[] {
    const first = this.#peers;
    const peerOf = new Map(scenario.identities.map(({ id }, i) => [id, first + i]));
    for (const [id, peer] of peerOf) this.#subject.know(peer, NumericIdentity(id));
    const sent: Sent[] = [];
    let current: EndpointPolicy | undefined;
    for (const question of bySubject(questionsOf(scenario, buildCluster(scenario)))) {
      const why = unaskable(question);
      const peer = peerOf.get(question.flow.identity);
      if (why !== undefined || peer === undefined) {
        const reason = why ?? "peers without an address";
        unasked.set(reason, (unasked.get(reason) ?? 0) + 1);
        continue;
      }
      if (question.policy !== current) this.#subject.setPolicy(question.policy);
      current = question.policy;
      const engine = engineVerdict(question.policy, question.flow, this.#subject.cookies);
      sent.push({ ...question, id: scenario.id, engine, run: this.#subject.send(question.flow, peer) });
    }
    this.#peers += peerOf.size;
    for (const peer of peerOf.values()) this.#subject.forget(peer);
    return sent;
  }

  async #compare(sent: readonly Sent[], recorder: Recorder): Promise<void> {
    const verdicts = await this.#subject.verdicts();
    for (const { id, run, flow, where, engine, expected, excuse } of sent) {
      const kernel = verdicts.get(run) ?? { verdict: 0, cookie: undefined };
      const at = `${flow.direction} ${where}`;
      if (!recorder.compare(id, "kernel and engine", at, engine, kernel)) continue;
      const [wanted, said] = [wantedOf(expected), saidOf(kernel)];
      recorder.compare(id, "kernel and Cilium", at, wanted, meansTheSame(wanted, said, expected) ? wanted : said, excuse);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#subject[Symbol.asyncDispose]();
  }
}

/** The scenario of a line; without one, why is counted. */
function scenarioOf({ number, value, problem }: DataLine, recorder: Recorder, unasked: Map<string, number>): Scenario | undefined {
  const question = questionOf(value);
  if (question?.kind === "scenario") return question.line;
  if (question === undefined) recorder.refuse(problem ?? "is of no known kind", number);
  else unasked.set("lines without flows", (unasked.get("lines without flows") ?? 0) + 1);
  return undefined;
}

/** Questions to one endpoint together: each of them has another policy. */
function bySubject(questions: Iterable<Question>): Question[] {
  return [...Map.groupBy(questions, ({ endpoint }) => endpoint).values()].flat();
}
