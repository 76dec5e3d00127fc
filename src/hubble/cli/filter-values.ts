import {
  DropReason,
  type EventTypeFilter,
  type HTTPHeader,
  IPVersion,
  type TCPFlags,
  TrafficDirection,
  Verdict,
  type Workload,
} from "#api/gen/flow/flow_pb.ts";
import { observationPointNumber, reservedIdentityName } from "#monitor/names.ts";
import { EVENT_TYPE } from "../event-types.ts";
import { UsageError } from "./args.ts";

/** A verdict by its exact name. Throws UsageError. */
export function parseVerdict(text: string): Verdict {
  const value = Object.hasOwn(Verdict, text) ? Verdict[text as keyof typeof Verdict] : undefined;
  if (typeof value !== "number") throw new UsageError(`invalid --verdict value: ${text}: expected ${namesOf(Verdict)}`);
  return value;
}

/** A drop reason by the name of its enum. Throws UsageError. */
export function parseDropReason(text: string): DropReason {
  if (text === "") throw new UsageError(`empty --drop-reason-desc value: expected ${namesOf(DropReason)}`);
  const value = Object.hasOwn(DropReason, text) ? DropReason[text as keyof typeof DropReason] : undefined;
  if (typeof value !== "number") throw new UsageError(`invalid --drop-reason-desc value: ${text}: expected ${namesOf(DropReason)}`);
  return value;
}

/** The names of an enum, but for the one that says that nothing is known. */
function namesOf(values: Readonly<Record<string, string | number>>): string {
  const names = Object.keys(values).filter((name) => typeof values[name] === "number" && !name.endsWith("_UNKNOWN"));
  return names.join(", ");
}

const EVENT_TYPES = `l3/l4, ${Object.keys(EVENT_TYPE).join(", ")} or a number, and for some :SUBTYPE`;

/** The packet types, for `--type l3/l4`. */
const LAYER34 = [EVENT_TYPE.drop, EVENT_TYPE.capture, EVENT_TYPE.trace, EVENT_TYPE["policy-verdict"]] as const;
const SOCK_POINTS = ["unknown", "pre-xlate-fwd", "post-xlate-fwd", "pre-xlate-rev", "post-xlate-rev"] as const;

/** `TYPE[:SUBTYPE]`, each a name or a number; `l3/l4` is all packet types. Throws UsageError. */
export function parseEventType(text: string): EventTypeFilter[] {
  if (text.toLowerCase() === "l3/l4") return LAYER34.map((type) => typeFilter(type));
  const colon = text.indexOf(":");
  const name = colon < 0 ? text : text.slice(0, colon);
  const type = Object.hasOwn(EVENT_TYPE, name) ? EVENT_TYPE[name as keyof typeof EVENT_TYPE] : parseNumber(name);
  if (type === undefined)
    throw new UsageError(
      `unable to parse type '${name}', not a known type name and unable to parse as numeric value: expected ${EVENT_TYPES}`,
    );
  if (colon < 0) return [typeFilter(type)];
  const subText = text.slice(colon + 1);
  const sub = subTypeNumber(name, subText) ?? parseNumber(subText);
  if (sub === undefined) {
    throw new UsageError(`unable to parse event sub-type '${subText}', not a known sub-type name and unable to parse as numeric value`);
  }
  return [typeFilter(type, sub)];
}

function typeFilter(type: number, subType?: number): EventTypeFilter {
  return { $typeName: "flow.EventTypeFilter", type, matchSubType: subType !== undefined, subType: subType ?? 0 };
}

/** Kinds of agent events, by their numbers. */
const AGENT_EVENTS = [
  ...["unspecified", "message", "agent-started", "endpoint-regenerate-success", "endpoint-regenerate-failure", "policy-updated"],
  ...["policy-deleted", "endpoint-created", "endpoint-deleted", "ipcache-upserted", "ipcache-deleted"],
];

function subTypeNumber(type: string, name: string): number | undefined {
  if (type === "trace") return observationPointNumber(name);
  if (type === "drop") return Object.hasOwn(DropReason, name) ? DropReason[name as keyof typeof DropReason] : undefined;
  const names: readonly string[] = type === "trace-sock" ? SOCK_POINTS : type === "agent" ? AGENT_EVENTS : [];
  const index = names.indexOf(name);
  return index < 0 ? undefined : index;
}

function parseNumber(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

/** An identity: a number, also `0x…`, or the name of a reserved one. Throws UsageError. */
export function parseIdentity(text: string): number {
  const number = /^(?:\d+|0[xob][\da-f]+)$/i.test(text) ? Number(text) : Number.NaN;
  if (number <= MAX_IDENTITY) return number;
  const names = Array.from({ length: LAST_RESERVED }, (_, index) => reservedIdentityName(index + 1) ?? "");
  const found = names.indexOf(text.replace(/^reserved:/, ""));
  if (found < 0) throw new UsageError(`invalid security identity, expected one of [${names.join(" ")}] or a numeric value`);
  return found + 1;
}

const MAX_IDENTITY = 0xffffffff;
const LAST_RESERVED = 10;

/** The number of an IP trace. Throws UsageError. */
export function parseTraceId(text: string): bigint {
  const id = /^\d{1,20}$/.test(text) ? BigInt(text) : 0n;
  if (id === 0n || id > 0xffff_ffff_ffff_ffffn)
    throw new UsageError("invalid --ip-trace-id value; must be greater than 0: expected a number of at most 64 bits");
  return id;
}

/** A port number as text. Throws UsageError. */
export function parsePort(text: string): string {
  const port = parseNumber(text);
  if (port === undefined || port > 65535) throw new UsageError(`invalid port: ${text}: expected a number from 0 to 65535`);
  return String(port);
}

/** `[kind/]name`. */
export function parseWorkload(text: string): Workload {
  const slash = text.indexOf("/");
  return { $typeName: "flow.Workload", kind: slash < 0 ? "" : text.slice(0, slash), name: text.slice(slash + 1) };
}

const FLAGS = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"] as const;

/** `SYN,ACK`: all of them. Throws UsageError. */
export function parseTcpFlags(text: string): TCPFlags {
  const names = text.split(",").map((name) => name.trim().toUpperCase());
  const unknown = names.findIndex((name) => !(FLAGS as readonly string[]).includes(name));
  if (unknown >= 0) throw new UsageError(`unknown tcp flag: ${text.split(",")[unknown]}: expected ${FLAGS.join(", ")}`);
  const set = Object.fromEntries(FLAGS.map((flag) => [flag, names.includes(flag)])) as Record<(typeof FLAGS)[number], boolean>;
  return { $typeName: "flow.TCPFlags", ...set };
}

/** `name:value`. Throws UsageError. */
export function parseHeader(text: string): HTTPHeader {
  const colon = text.indexOf(":");
  if (colon < 0) throw new UsageError(`invalid http-header value "${text}", expected name:value`);
  return { $typeName: "flow.HTTPHeader", key: text.slice(0, colon), value: text.slice(colon + 1) };
}

/** `v4`, `4`, `v6`, `6`, `none`. Throws UsageError. */
export function parseIpVersion(text: string): IPVersion {
  switch (text.toLowerCase()) {
    case "v4":
    case "4":
    case "ip4":
    case "ipv4":
      return IPVersion.IPv4;
    case "v6":
    case "6":
    case "ip6":
    case "ipv6":
      return IPVersion.IPv6;
    case "none":
      return IPVersion.IP_NOT_USED;
    default:
      throw new UsageError(`invalid IP version: ${text}: expected v4, v6 or none`);
  }
}

/** `ingress` or `egress`. Throws UsageError. */
export function parseDirection(text: string): TrafficDirection {
  const name = text.toLowerCase();
  if (name === "ingress") return TrafficDirection.INGRESS;
  if (name === "egress") return TrafficDirection.EGRESS;
  throw new UsageError(`${text}: invalid traffic direction, expected ingress or egress`);
}
