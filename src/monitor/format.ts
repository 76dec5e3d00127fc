import { parsePacket } from "#packet/parse.ts";
import type { AgentEvent, L7Event, MonitorEvent, PacketEvent, SocketEvent } from "./events.ts";
import { ctStateText, dropReasonText, matchTypeText, observationPointText, reservedIdentityName, sourceFileName } from "./names.ts";
import { packetText } from "./packet-text.ts";

export interface MonitorFormat {
  /** 1 and more: with the captured bytes. */
  readonly verbosity?: number;
  /** Identities as numbers, also the reserved ones. */
  readonly numeric?: boolean;
  /** Append a dump of the captured bytes. */
  readonly hex?: boolean;
  /** Labels of an identity, for L7 lines. */
  readonly labels?: (identity: number) => readonly string[];
  /** Name of a device; its number is printed when unknown. */
  readonly interfaceName?: (ifindex: number) => string | undefined;
}

/** The line `cilium-dbg monitor` prints for an event (upstream's words), without the line's end. */
export function formatMonitorEvent(event: MonitorEvent, format: MonitorFormat = {}): string {
  switch (event.type) {
    case "drop":
    case "trace":
    case "policy-verdict":
      return formatPacketEvent(event, format) + (format.hex || (format.verbosity ?? 0) > 0 ? `\n${hexDump(event.packet)}` : "");
    case "trace-sock":
      return formatSocketEvent(event);
    case "l7":
      return formatL7Event(event, format);
    case "agent":
      return formatAgentEvent(event);
    case "lost":
      return `CPU 00: Lost ${event.count} events (${event.source})`;
  }
}

function formatPacketEvent(event: PacketEvent, format: MonitorFormat): string {
  const text = packetText(parsePacket(event.packet, { link: event.l3Device ? "ip" : "ethernet" }));
  const flow = `flow 0x${event.hash.toString(16)}`;
  const identity = `identity ${identityText(event.sourceIdentity, format)}->${identityText(event.destinationIdentity, format)}`;
  switch (event.type) {
    case "drop": {
      const to = event.destinationEndpointId === 0 ? "" : ` to endpoint ${event.destinationEndpointId}`;
      const file = event.file === 0 ? "" : `, file ${sourceFileName(event.file)}:${event.line}`;
      const error = event.extError === 0 ? "" : `, error ${event.extError}`;
      return `xx drop (${dropReasonText(event.subtype)}${error}) ${flow}${to}, ifindex ${event.ifindex}${file}, ${identity}: ${text}`;
    }
    case "trace": {
      const device = format.interfaceName?.(event.ifindex) ?? String(event.ifindex);
      const state = event.ctReason === 5 ? "unknown" : ctStateText(event.ctReason);
      return `${traceArrow(event)} ${flow} , ${identity} state ${state} ifindex ${device} orig-ip 0.0.0.0: ${text}`;
    }
    case "policy-verdict":
      return formatVerdict(event, format, flow, text);
  }
}

function traceArrow(event: PacketEvent): string {
  const point = observationPointText(event.subtype);
  if (point === "to-endpoint") return `-> endpoint ${event.destinationEndpointId || event.endpointId}`;
  if (point === "from-endpoint") return `<- endpoint ${event.endpointId}`;
  return `${point.startsWith("to-") ? "->" : "<-"} ${point.replace(/^(to|from)-/, "")}`;
}

function formatVerdict(event: PacketEvent, format: MonitorFormat, flow: string, text: string): string {
  const packet = parsePacket(event.packet, { link: event.l3Device ? "ip" : "ethernet" });
  const remote = event.direction === "egress" ? event.destinationIdentity : event.sourceIdentity;
  const action = event.audit ? "audit" : event.verdict < 0 ? "deny" : event.verdict > 0 ? "redirect" : "allow";
  return (
    `Policy verdict log: ${flow} local EP ID ${event.endpointId}, remote ID ${identityText(remote, format)}, proto ${packet.ip?.protocol ?? 0}, ` +
    `${event.direction}, action ${action}, auth: disabled, match ${matchTypeText(event.matchType)}, ${text}`
  );
}

function identityText(identity: number, format: MonitorFormat): string {
  return (format.numeric ? undefined : reservedIdentityName(identity)) ?? String(identity);
}

const SOCK_POINTS = ["unknown", "pre-xlate-fwd", "post-xlate-fwd", "pre-xlate-rev", "post-xlate-rev"] as const;

function formatSocketEvent(event: SocketEvent): string {
  const ip = event.destinationIp.includes(":") ? `[${event.destinationIp}]` : event.destinationIp;
  const protocol = event.protocol === 6 ? "TCP" : event.protocol === 17 ? "UDP" : `proto ${event.protocol}`;
  const refused = event.noBackend ? " (no backend)" : "";
  const point = SOCK_POINTS[event.subtype] ?? String(event.subtype);
  return `${point} cgroup_id: ${event.cgroupId} sock_cookie: ${event.socketCookie}, dst ${ip}:${event.destinationPort} ${protocol}${refused}`;
}

const VERDICT_WORDS = { FORWARDED: "Forwarded", DROPPED: "Denied", AUDIT: "Audited", ERROR: "Error" } as const;

function formatL7Event(event: L7Event, format: MonitorFormat): string {
  const { access } = event;
  const peer = (identity: number) => `([${(format.labels?.(identity) ?? []).join(" ")}])`;
  const source = access.direction === "egress" ? access.endpointId : 0;
  const destination = access.direction === "ingress" ? access.endpointId : 0;
  const kind = access.kind === "request" ? "<- Request" : "-> Response";
  const { protocol, what } = accessWords(access);
  return (
    `${kind} ${protocol} from ${source} ${peer(access.source.identity)} to ${destination} ${peer(access.destination.identity)}, ` +
    `identity ${access.source.identity}->${access.destination.identity}, verdict ${VERDICT_WORDS[access.verdict]} ${what}`
  );
}

function accessWords(access: L7Event["access"]): { readonly protocol: string; readonly what: string } {
  switch (access.type) {
    case "access":
      return { protocol: "http", what: `${access.http.method} ${access.http.url} => ${access.http.code}` };
    case "kafka-access":
      return { protocol: "kafka", what: `${access.kafka.apiKey} topic ${access.kafka.topic} => ${access.kafka.errorCode}` };
    case "tls-access":
      return { protocol: "tls", what: `SNI ${access.tls.serverName}` };
    case "dns-access": {
      const answer = access.kind === "response" ? ` => ${access.dns.ips.join(",")}` : "";
      return { protocol: "dns", what: `DNS ${access.dns.query} ${access.dns.qtypes.join(",")}${answer}` };
    }
  }
}

const AGENT_WORDS: Readonly<Record<AgentEvent["payload"]["kind"], string>> = {
  "agent-started": "Agent started",
  "policy-updated": "Policy updated",
  "policy-deleted": "Policy deleted",
  "endpoint-regenerate-success": "Endpoint regenerated",
  "endpoint-regenerate-failure": "Failed endpoint regeneration",
  "endpoint-created": "Endpoint created",
  "endpoint-deleted": "Endpoint deleted",
  "ipcache-upserted": "IPCache entry upserted",
  "ipcache-deleted": "IPCache entry deleted",
};

function formatAgentEvent(event: AgentEvent): string {
  const { kind, ...rest } = event.payload;
  const fields = Object.entries(rest).map(([key, value]) => [snakeCase(key), typeof value === "bigint" ? value.toString() : value]);
  return `>> ${AGENT_WORDS[kind]}: ${JSON.stringify(Object.fromEntries(fields))}`;
}

function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${hex.padEnd(47)}  |${text}|`);
  }
  return lines.join("\n");
}
