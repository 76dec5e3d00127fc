import { formatProtocol, hasPorts, protocolNumber } from "#types/proto.ts";
import type { Fields } from "../parse/reading.ts";
import type { PortSpec, Rule } from "../rule.ts";
import type { PolicySettings } from "../settings.ts";
import type { Connection } from "./connection.ts";
import { namedPortOf } from "./party.ts";

const LAST_PORT = 0xffff;

/** Ports in one item of `toPorts`, and types in one of `icmps`. */
const MOST = 40;

const spec = (protocol: number, port: number, endPort = 0): PortSpec => ({ protocol, name: "", port, endPort });
const withPorts = [protocolNumber.TCP, protocolNumber.UDP, protocolNumber.SCTP];

/** What a rule without ports is about, as far as ports and types can say so: of ICMP the echo requests. */
function everything({ ipv4, ipv6 }: PolicySettings): PortSpec[] {
  const echo = [...(ipv4 ? [spec(protocolNumber.ICMP, 8)] : []), ...(ipv6 ? [spec(protocolNumber.ICMPv6, 128)] : [])];
  return [...withPorts.map((one) => spec(one, 1, LAST_PORT)), ...echo];
}

/** Whether a rule is about more than ports and types can say. */
export function isAboutAll(rule: Rule): boolean {
  return rule.ports === null;
}

/** The ports of a rule but that of the connection, as fields of entries; those of ICMP need an entry of their own. */
export function portsWithout(rule: Rule, connection: Connection, settings: PolicySettings): Fields[] {
  const specs = rule.ports?.flatMap(({ ports }) => ports) ?? everything(settings);
  const each = specs.flatMap((one) => (one.protocol === protocolNumber.ANY ? withPorts.map((protocol) => ({ ...one, protocol })) : [one]));
  const left = each.flatMap((one) => specWithout(one, connection));
  const ports = portFields(left.filter(({ protocol }) => !isIcmp(protocol)));
  const types = left.filter(({ protocol }) => isIcmp(protocol)).map(typeField);
  return [
    ...(ports.length === 0 ? [] : [{ toPorts: chunks(ports).map((some) => ({ ports: some })) }]),
    ...(types.length === 0 ? [] : [{ icmps: chunks(types).map((fields) => ({ fields })) }]),
  ];
}

const isIcmp = (protocol: number) => protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6;

function specWithout(one: PortSpec, { protocol, port, to }: Connection): PortSpec[] {
  if (one.protocol !== protocol) return [one];
  if (one.name !== "") return namedPortOf(to, one.name, protocol)?.port === port ? [] : [one];
  if (!hasPorts(protocol)) return isIcmp(protocol) && one.port !== port ? [one] : [];
  const isAll = one.port === 0 && one.endPort === 0;
  const [first, last] = isAll ? [1, LAST_PORT] : [one.port, Math.max(one.port, one.endPort)];
  if (port < first || port > last) return [one];
  return [...rangeOf(one, first, port - 1), ...rangeOf(one, port + 1, last)];
}

function rangeOf(one: PortSpec, first: number, last: number): PortSpec[] {
  return first > last ? [] : [{ ...one, port: first, endPort: first === last ? 0 : last }];
}

/** Entries of `ports`; what holds for all three protocols is written once. */
function portFields(specs: readonly PortSpec[]): Fields[] {
  const numbers = (one: PortSpec) => ({ port: one.name || String(one.port), ...(one.endPort > one.port ? { endPort: one.endPort } : {}) });
  return [...Map.groupBy(specs, (one) => JSON.stringify(numbers(one))).values()].flatMap((alike) => {
    const [first] = alike as [PortSpec, ...PortSpec[]];
    const protocols = new Set(alike.map(({ protocol }) => protocol));
    if (withPorts.every((one) => protocols.has(one))) return [{ ...numbers(first), protocol: "ANY" }];
    return [...protocols].map((one) => ({ ...numbers(first), protocol: formatProtocol(one) }));
  });
}

function typeField({ protocol, port }: PortSpec): Fields {
  return { family: protocol === protocolNumber.ICMP ? "IPv4" : "IPv6", type: port };
}

function chunks(list: readonly Fields[]): Fields[][] {
  return Array.from({ length: Math.ceil(list.length / MOST) }, (_, i) => list.slice(i * MOST, (i + 1) * MOST));
}
