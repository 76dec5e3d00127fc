import { type DnsAnswers, type DnsQuestion, dnsTypeName, queryFault, readAnswers, readQuestion } from "#packet/dns.ts";
import type { Logger } from "#runtime/logger.ts";
import { isOutside, JUST_EXPIRED, type LearnedNames, type Peer } from "../peer.ts";
import type { AccessDenial, AccessPeer, RuleOrigin } from "../protocol.ts";
import { type AddressKey, ipOfEnd, keyOfEnd, portOfEnd } from "./address.ts";
import type { DnsCounters } from "./counters.ts";
import { headerAnswer, ownAnswer, RCODE } from "./message.ts";
import type { Names } from "./names.ts";
import type { DnsEndpointRules, DnsPolicyTable, DnsPortRules } from "./policy-table.ts";
import type { DnsAccessMessage } from "./protocol.ts";

/** Who asks whom. */
interface Ends {
  readonly endpointId: number;
  readonly identity: number;
  /** The two ends as records show them. */
  readonly source: AccessPeer;
  readonly destination: AccessPeer;
  readonly protocol: "UDP" | "TCP";
}

/** A question that may be asked, as long as it is under way. */
export interface Asked extends Ends {
  /** Copies of the two ends. */
  readonly client: Buffer;
  readonly server: Buffer;
  /** The client's own id, which its answer must have. */
  readonly id: number;
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly origins: readonly RuleOrigin[];
}

/** What to do with a message from a client. `answer` is for the client at once. */
export type Judged = { readonly asked: Asked } | { readonly answer: Buffer } | undefined;

export interface ExchangeDeps {
  readonly log: Logger;
  readonly policy: () => DnsPolicyTable;
  readonly names: Names;
  /** The identity behind an address; throws when the maps cannot be read. */
  readonly identityOf: (ip: string) => number;
  readonly learned: LearnedNames;
  readonly record: (record: DnsAccessMessage) => void;
  readonly counters: DnsCounters;
}

/** The two halves of every exchange, however it travels. */
export interface Exchange {
  /** Asks the policy about a message from a client. Undefined: it is dropped. */
  judge(message: Buffer, client: Buffer, server: Buffer, protocol: Asked["protocol"]): Judged;
  /**
   * Takes a server's message for the question. Returns what the client gets, with the client's id: the message itself, learned, or SERVFAIL when the kernel could
   * not be told of the addresses. Undefined: it is no answer to this question.
   */
  answer(message: Buffer, asked: Asked, latencyMs: number): Buffer | undefined;
  /** What the client gets when its question, `message`, cannot be sent on: SERVFAIL, so that it asks elsewhere at once. */
  overloaded(message: Buffer, asked: Asked): Buffer;
  /** The server has not answered in time. */
  unanswered(asked: Asked): void;
}

const PROTOCOL_NUMBER = { TCP: 6, UDP: 17 } as const;
const REJECT = { refused: RCODE.refused, nameError: RCODE.nameError } as const;
const NO_TTL = 0xffffffff;
const NO_ANSWERS = { ips: [], cnames: [], rrtypes: [], ttl: undefined } as const;
/** What is wrong with a query that cannot be judged, and how it is answered: some server might read it in another way than we do. */
const FAULTS = {
  opcode: { rcode: RCODE.notImplemented, error: "another operation than a query" },
  questions: { rcode: RCODE.formatError, error: "a query must have one question" },
  name: { rcode: RCODE.formatError, error: "the question cannot be read" },
} as const;

export function createExchange(deps: ExchangeDeps): Exchange {
  const { counters, names } = deps;
  const whoAsks = createWhoAsks(deps);
  const revision = () => deps.policy().revision;
  const refuseFault = (message: Buffer, { ends }: Asker): Judged => {
    const fault = queryFault(message);
    counters.malformed += 1;
    if (fault === undefined) return undefined;
    const { rcode, error } = FAULTS[fault];
    deps.record({ ...recordOf({ ...ends, name: "", origins: [] }, "request", "ERROR", revision(), 0), error });
    return { answer: headerAnswer(message, rcode) };
  };
  const decide = (message: Buffer, question: DnsQuestion, { ends, port, peer }: Asker, client: Buffer, server: Buffer): Judged => {
    const decision = port.decide(peer, question.name);
    const origins = decision.allowed ? decision.origins : [];
    const { id, name, type, class: of } = question;
    const asked: Asked = { ...ends, client: Buffer.from(client), server: Buffer.from(server), id, name, type, class: of, origins };
    if (decision.allowed) {
      counters.forwarded += 1;
      const { audited } = decision;
      const record = recordOf(asked, "request", audited === undefined ? "FORWARDED" : "AUDIT", revision(), 0);
      deps.record(audited === undefined ? record : { ...record, denied: audited });
      return { asked };
    }
    counters.denied += 1;
    deps.record({ ...recordOf(asked, "request", "DROPPED", revision(), 0), denied: decision.denied });
    return { answer: ownAnswer(message, question, REJECT[names.settings.rejectWith], reasonOf(decision.denied)) };
  };
  return {
    judge(message, client, server, protocol) {
      const question = readQuestion(message);
      if (question?.response) {
        counters.malformed += 1;
        return undefined;
      }
      const asker = whoAsks(client, server, protocol);
      if (asker === undefined) {
        counters.unknown += 1;
        return undefined;
      }
      return question === undefined ? refuseFault(message, asker) : decide(message, question, asker, client, server);
    },
    answer(message, asked, latencyMs) {
      const question = readQuestion(message);
      if (question === undefined || !answers(question, asked)) {
        counters.unasked += 1;
        return undefined;
      }
      const found = readAnswers(message, question);
      message.writeUInt16BE(asked.id, 0);
      counters.upstreamSeconds.observe(latencyMs / 1000);
      try {
        if (question.rcode === 0) names.learn(asked.endpointId, asked.name, found.own);
      } catch (thrown) {
        counters.withheld += 1;
        const error = "the kernel does not take its addresses";
        deps.log.error("answer withheld: its addresses cannot be allowed", { name: asked.name, error: (thrown as Error).message });
        deps.record({ ...recordOf(asked, "response", "ERROR", revision(), latencyMs, { rcode: RCODE.servfail, ...NO_ANSWERS }), error });
        return ownAnswer(message, question, RCODE.servfail);
      }
      counters.answered += 1;
      deps.record(recordOf(asked, "response", "FORWARDED", revision(), latencyMs, { rcode: question.rcode, ...found }));
      return message;
    },
    overloaded(message, asked) {
      counters.overload += 1;
      deps.record({ ...recordOf(asked, "request", "ERROR", revision(), 0), error: "too many questions are under way" });
      message.writeUInt16BE(asked.id, 0);
      const question = readQuestion(message);
      return question === undefined ? headerAnswer(message, RCODE.servfail) : ownAnswer(message, question, RCODE.servfail);
    },
    unanswered(asked) {
      counters.timeouts += 1;
      deps.record({ ...recordOf(asked, "request", "ERROR", revision(), 0), error: "the server did not answer" });
    },
  };
}

/** An endpoint with rules for the port that it asks at. */
interface Asker {
  readonly ends: Ends;
  readonly port: DnsPortRules;
  /** Who the server is, to the endpoint. */
  readonly peer: Peer;
}

/** Undefined for endpoints and ports that the policy does not mention, and when the maps cannot be read. */
function createWhoAsks(deps: ExchangeDeps): (client: Buffer, server: Buffer, protocol: Asked["protocol"]) => Asker | undefined {
  const identityOf = cachedIdentities(deps.identityOf);
  /** The names are read for each question: they come and go, and a server that has any is rare. Undefined when they cannot be read. */
  const peerOf = (endpointId: number, server: Buffer, own: number): Peer | undefined => {
    try {
      return isOutside(own) ? [own, ...deps.learned(endpointId, ipOfEnd(server), JUST_EXPIRED)] : [own];
    } catch {
      return undefined;
    }
  };
  const endsOf = ({ endpoint }: DnsEndpointRules, client: Buffer, server: Buffer, serverIdentity: number, protocol: Asked["protocol"]) => ({
    endpointId: endpoint.id,
    identity: endpoint.identity,
    source: { ip: ipOfEnd(client), port: portOfEnd(client), identity: endpoint.identity },
    destination: { ip: ipOfEnd(server), port: portOfEnd(server), identity: serverIdentity },
    protocol,
  });
  return (client, server, protocol) => {
    const rules = deps.policy().endpoint(keyOfEnd(client));
    const port = rules?.port(portOfEnd(server), PROTOCOL_NUMBER[protocol]);
    if (rules === undefined || port === undefined) return undefined;
    const serverIdentity = identityOf(server);
    const peer = serverIdentity === undefined ? undefined : peerOf(rules.endpoint.id, server, serverIdentity);
    if (serverIdentity === undefined || peer === undefined) return undefined;
    return { ends: endsOf(rules, client, server, serverIdentity, protocol), port, peer };
  };
}

/** By id it is found already: the question must be the same, too. The client itself checks how its letters were written (0x20). */
function answers(question: DnsQuestion, asked: Asked): boolean {
  return question.response && question.name === asked.name && question.type === asked.type && question.class === asked.class;
}

const IDENTITY_TTL_MS = 1000;
const MAX_CACHED = 4096;

/** Servers are few. Undefined when the maps cannot be read. */
function cachedIdentities(lookup: (ip: string) => number): (end: Buffer) => number | undefined {
  const known = new Map<AddressKey, { readonly identity: number; readonly until: number }>();
  return (end) => {
    const key = keyOfEnd(end);
    const found = known.get(key);
    const now = performance.now();
    if (found !== undefined && now < found.until) return found.identity;
    try {
      const identity = lookup(ipOfEnd(end));
      if (known.size >= MAX_CACHED) known.clear();
      known.set(key, { identity, until: now + IDENTITY_TTL_MS });
      return identity;
    } catch {
      return undefined;
    }
  };
}

/** For clients that ask why (EDNS): policy, rule and the name that came nearest. */
function reasonOf({ origins, nearest }: AccessDenial): string {
  const origin = nearest[0]?.origins[0] ?? origins[0];
  if (origin === undefined) return "no policy allows this name";
  const place = origin.namespace === undefined || origin.namespace === "" ? origin.name : `${origin.namespace}/${origin.name}`;
  const wanted = nearest[0]?.mismatches[0];
  return `${place} does not allow this name${wanted?.field === "name" ? ` (nearest: ${wanted.wanted})` : ""}`;
}

type Found = { readonly rcode: number } & Pick<DnsAnswers, "ips" | "cnames" | "rrtypes" | "ttl">;

function recordOf(
  asked: Ends & Pick<Asked, "name" | "origins"> & { readonly type?: number },
  kind: DnsAccessMessage["kind"],
  verdict: DnsAccessMessage["verdict"],
  policyRevision: number,
  latencyMs: number,
  found: Found = { rcode: 0, ...NO_ANSWERS },
): DnsAccessMessage {
  const { rcode, ips, cnames, rrtypes, ttl } = found;
  return {
    type: "dns-access",
    time: performance.timeOrigin + performance.now(),
    kind,
    verdict,
    direction: "egress",
    endpointId: asked.endpointId,
    protocol: asked.protocol,
    source: asked.source,
    destination: asked.destination,
    dns: {
      query: asked.name,
      qtypes: asked.type === undefined ? [] : [dnsTypeName(asked.type)],
      rcode,
      ips,
      ttl: ttl ?? (kind === "response" ? NO_TTL : 0),
      cnames,
      rrtypes,
      source: "proxy",
    },
    latencyNs: Math.round(latencyMs * 1e6),
    ...(asked.origins.length > 0 ? { origins: asked.origins } : {}),
    policyRevision,
  };
}
