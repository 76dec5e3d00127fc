import type { Flow } from "#api/gen/flow/flow_pb.ts";
import { l7Event } from "#monitor/access.ts";
import type { L7Event, PacketEvent } from "#monitor/events.ts";
import { type DnsAnswers, type DnsQuestion, dnsTypeName, readAnswers, readQuestion } from "#packet/dns.ts";
import { parsePacket } from "#packet/parse.ts";
import type { DnsAccessMessage } from "#proxy/dns/protocol.ts";
import type { Names } from "../names.ts";

const DNS_PORT = 53;
const SAME_MESSAGE_NS = 2_000_000_000n;
const KEPT_MESSAGES = 1024;
/** An endpoint whose DNS went to the proxy so recently is the proxy's. */
const PROXIED_NS = 60_000_000_000n;
const KEPT_ADDRESSES = 4096;
/** Connections outlive the records they began with, so names are remembered at least this long. */
const KEEP_NAMES_NS = 3_600_000_000_000n;
const NO_TTL = 0xffffffff;

/** A message as far as the capture has it. */
type DnsMessage = DnsQuestion & Pick<DnsAnswers, "ips" | "cnames" | "rrtypes" | "ttl">;

/** DNS seen in passing, without a proxy: questions and answers of this node's pods, and the names their addresses have. */
export interface DnsWatcher {
  /** The question or answer that a forwarded packet carries, once however often the packet is seen. */
  watch(event: PacketEvent, flow: Flow): L7Event | undefined;
  /** `names` that also know what was seen here. */
  readonly names: Names;
}

/** A watcher over what the agent knows. It forgets the oldest when it has seen too much. */
export function createDnsWatcher(names: Names): DnsWatcher {
  const seen = new Map<string, bigint>();
  const learned = createNameTable();
  const proxied = new Map<number, bigint>();
  return {
    watch(event, flow) {
      if (event.type === "trace" && event.verdict > 0) noteProxied(proxied, event.time, flow);
      if (!isDns(event, flow)) return undefined;
      const message = messageIn(parsePacket(event.packet, { link: event.l3Device ? "ip" : "ethernet" }).payload);
      const client = message?.response ? flow.destination : flow.source;
      // Only the client's node speaks of it, so that a relay shows it once.
      if (message === undefined || !client?.ID || isRepeat(seen, event.time, flow, message)) return undefined;
      if (event.time - (proxied.get(client.ID) ?? 0n) < PROXIED_NS) return undefined;
      if (message.response) learned.learn(client.ID, message, event.time);
      return l7Event(accessOf(event, flow, message, client.ID));
    },
    names: {
      ...names,
      dnsNames(endpointId, ip) {
        const known = names.dnsNames(endpointId, ip);
        return known.length > 0 ? known : learned.namesOf(endpointId, ip);
      },
    },
  };
}

/** The proxy tells of its endpoints' DNS by itself; its own packets in their names are the same once more. */
function noteProxied(proxied: Map<number, bigint>, time: bigint, { source, l4 }: Flow): void {
  if (l4?.protocol.case !== "UDP" || l4.protocol.value.destinationPort !== DNS_PORT || !source?.ID) return;
  proxied.delete(source.ID);
  proxied.set(source.ID, time);
  if (proxied.size > KEPT_MESSAGES) forgetOldest(proxied);
}

function messageIn(payload: Uint8Array): DnsMessage | undefined {
  const question = readQuestion(payload);
  return question && { ...question, ...readAnswers(payload, question) };
}

/** What goes to the proxy is the proxy's to report. */
function isDns(event: PacketEvent, { l4 }: Flow): boolean {
  if (event.type !== "trace" || event.verdict !== 0 || l4?.protocol.case !== "UDP") return false;
  const { sourcePort, destinationPort } = l4.protocol.value;
  return (sourcePort === DNS_PORT) !== (destinationPort === DNS_PORT);
}

function isRepeat(seen: Map<string, bigint>, time: bigint, flow: Flow, message: DnsMessage): boolean {
  const ports = flow.l4?.protocol.case === "UDP" ? flow.l4.protocol.value : undefined;
  const key = `${flow.IP?.source} ${ports?.sourcePort} ${flow.IP?.destination} ${ports?.destinationPort} ${message.id} ${message.name} ${message.type}`;
  const before = seen.get(key);
  if (before !== undefined && time - before < SAME_MESSAGE_NS) return true;
  seen.delete(key);
  seen.set(key, time);
  if (seen.size > KEPT_MESSAGES) forgetOldest(seen);
  return false;
}

function forgetOldest<K>(map: Map<K, unknown>): void {
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}

function createNameTable() {
  const table = new Map<string, { names: string[]; until: bigint }>();
  let now = 0n;
  return {
    learn(endpointId: number, { name: query, ips, ttl = 0 }: DnsMessage, time: bigint): void {
      now = time;
      const name = query.slice(0, -1);
      const lifetime = BigInt(ttl) * 1_000_000_000n;
      for (const ip of ips) {
        const key = `${endpointId} ${ip}`;
        const names = table.get(key)?.names.filter((known) => known !== name) ?? [];
        table.delete(key);
        table.set(key, { names: [name, ...names].slice(0, 5), until: time + (lifetime > KEEP_NAMES_NS ? lifetime : KEEP_NAMES_NS) });
        if (table.size > KEPT_ADDRESSES) forgetOldest(table);
      }
    },
    namesOf(endpointId: number, ip: string): readonly string[] {
      if (table.size === 0) return [];
      const found = table.get(`${endpointId} ${ip}`);
      return found === undefined || found.until < now ? [] : found.names;
    },
  };
}

function accessOf(event: PacketEvent, flow: Flow, message: DnsMessage, endpointId: number): DnsAccessMessage {
  const ports = flow.l4?.protocol.case === "UDP" ? flow.l4.protocol.value : { sourcePort: 0, destinationPort: 0 };
  const from = { ip: flow.IP?.source ?? "", port: ports.sourcePort, identity: event.sourceIdentity };
  const to = { ip: flow.IP?.destination ?? "", port: ports.destinationPort, identity: event.destinationIdentity };
  const { name, type, rcode, ips, cnames, rrtypes, ttl } = message;
  return {
    type: "dns-access",
    time: Number(event.time / 1000n) / 1000,
    kind: message.response ? "response" : "request",
    verdict: "FORWARDED",
    direction: "egress",
    endpointId,
    protocol: "UDP",
    source: message.response ? to : from,
    destination: message.response ? from : to,
    dns: {
      query: name,
      qtypes: [dnsTypeName(type)],
      rcode,
      ips,
      ttl: ttl ?? (message.response && message.answers === 0 ? NO_TTL : 0),
      cnames,
      rrtypes,
      source: "",
    },
    latencyNs: 0,
    policyRevision: 0,
  };
}
