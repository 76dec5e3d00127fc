import { protocolNumber } from "#types/proto.ts";
import type { L7Rules, ListenerRef, PortRule, PortSpec, TlsContext } from "../rule.ts";
import { readL7 } from "./l7.ts";
import {
  checkFields,
  didYouMean,
  type Fields,
  type Reading,
  readInteger,
  readObject,
  readObjects,
  readString,
  readStrings,
  refuse,
  warn,
  warnPortability,
  warnUnstorable,
} from "./reading.ts";

/** What a list of ports may hold, by where it stands. */
export type PortScope = {
  readonly section: "ingress" | "egress";
  readonly deny: boolean;
  readonly onNode: boolean;
  readonly kind: string;
  readonly namespace: string;
};

const protocols = ["TCP", "UDP", "SCTP", "VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH", "ANY"] as const;
/** What "any protocol" of a port means. */
export const portProtocols: readonly number[] = [protocolNumber.TCP, protocolNumber.UDP, protocolNumber.SCTP];
const maxPorts = 40;

/** Whether a text is a service name (RFC 6335): a named port. */
export function isPortName(text: string): boolean {
  return text.length <= 15 && /[a-zA-Z]/.test(text) && /^[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*$/.test(text);
}

/** Reads a number as Go's ParseUint with base 0 does: `017` is octal, `1_000` is 1000; undefined when it is none from 0 to 65535. */
export function parsePortNumber(text: string): number | undefined {
  if (/^0[0-7_]+$/.test(text) && !/__|_$/.test(text)) return inRange(Number.parseInt(text.replaceAll("_", ""), 8));
  if (/^(0|[1-9][0-9]*(_[0-9]+)*)$/.test(text)) return inRange(Number(text.replaceAll("_", "")));
  return undefined;
}

function inRange(value: number): number | undefined {
  return value <= 0xffff ? value : undefined;
}

function readProtocol(reading: Reading, fields: Fields, path: string): (typeof protocols)[number] | undefined {
  const text = readString(reading, fields.protocol, `${path}.protocol`) ?? "";
  if (text === "") return "ANY";
  const known = protocols.find((name) => name === text.toUpperCase());
  if (known === undefined) {
    const hint = /^icmp/i.test(text) ? "; use icmps for ICMP" : didYouMean(text, protocols);
    refuse(reading, `${path}.protocol`, `"${text}" is not a protocol; allowed are ${protocols.join(", ")}${hint}`);
  } else if (known !== text) {
    warnUnstorable(reading, `${path}.protocol`, `"${text}" has to be written ${known}: a cluster's schema refuses other spellings`);
  }
  return known;
}

/** One entry of `ports` before its protocols are spread: what was given matters to the checks of L7 rules. */
type PortEntry = {
  readonly protocol: string;
  readonly omitted: boolean;
  readonly specs: readonly PortSpec[];
  readonly isZero: boolean;
  readonly isRange: boolean;
};

function readPort(reading: Reading, fields: Fields, path: string): PortEntry | undefined {
  checkFields(reading, fields, path, ["port", "endPort", "protocol"]);
  const text = readString(reading, fields.port, `${path}.port`) ?? "";
  const endPort = readInteger(reading, fields.endPort, `${path}.endPort`, -0x80000000, 0x7fffffff, [0, 0xffff]) ?? 0;
  const protocol = readProtocol(reading, fields, path);
  // What is wrong with the port is said too, be the protocol wrong or the port no text.
  if (protocol === undefined || (text === "" && typeof (fields.port ?? "") !== "string")) {
    if (text !== "") readPortText(reading, text, `${path}.port`);
    return undefined;
  }
  const spread = protocol === "ANY" ? portProtocols : [protocolNumber[protocol]];
  const omitted = fields.protocol === undefined || fields.protocol === null || fields.protocol === "";
  const entry = (spec: Omit<PortSpec, "protocol">, isZero: boolean, isRange: boolean): PortEntry => ({
    protocol,
    omitted,
    isZero,
    isRange,
    specs: spread.map((number) => ({ protocol: number, ...spec })),
  });
  if (text === "") {
    if (!reading.settings.extendedIpProtocols) {
      refuse(reading, `${path}.port`, "is missing; give a port number or name, or leave toPorts out to mean every port");
      return undefined;
    }
    return entry({ name: "", port: 0, endPort: 0 }, false, false);
  }
  const port = readPortText(reading, text, `${path}.port`);
  if (typeof port === "string")
    return entry({ name: port, port: 0, endPort: namedEnd(reading, port, endPort, `${path}.endPort`) }, false, false);
  if (port === undefined) return undefined;
  const zero = port === 0;
  // Cilium looks at the spelling: a protocol in lower case slips through, and such an entry matches nothing that exists.
  if (text !== "0" && !portProtocols.includes(spread[0] ?? 0) && fields.protocol === protocol) {
    refuse(reading, `${path}.port`, `${protocol} has no ports: leave the port out or write 0, found ${text}`);
    return undefined;
  }
  return entry({ name: "", port, endPort: rangeEnd(reading, port, endPort, `${path}.endPort`) }, zero, endPort > port);
}

/** A port's number, or its name in lower case; undefined when the text is neither, which is said. */
function readPortText(reading: Reading, text: string, path: string): number | string | undefined {
  if (isPortName(text)) return text.toLowerCase();
  const port = parsePortNumber(text);
  if (port !== undefined) return port;
  const hint = /^\d+-\d+$/.test(text) ? "; write a range with port and endPort" : "";
  const needed = "neither a number from 0 to 65535 nor a port name (letters, digits and single dashes, at most 15)";
  refuse(reading, path, `"${text}" is ${needed}${hint}`);
  return undefined;
}

/** The end of a range that begins at the number which a name turns out to have. */
function namedEnd(reading: Reading, name: string, endPort: number, path: string): number {
  if (endPort !== 0)
    warn(
      reading,
      path,
      `as in Cilium, the range begins at the number that "${name}" has; where that is ${endPort & 0xffff} or more, it is the one port`,
    );
  return endPort & 0xffff;
}

function rangeEnd(reading: Reading, port: number, endPort: number, path: string): number {
  if (endPort < 0 || endPort > 0xffff)
    warnUnstorable(
      reading,
      path,
      `${endPort} is not a port: a port is 0 to 65535; Cilium's engine takes its lowest 16 bits, ${endPort & 0xffff}`,
    );
  const end = endPort & 0xffff;
  if (port === 0 && end !== 0) warn(reading, path, `port 0 means every port, so the end ${end} has no effect`);
  if (port === 0) return 0;
  if (end !== 0 && end < port) warn(reading, path, `${end} is below the port ${port}; the rule means the one port`);
  return end > port ? end : 0;
}

function readTls(reading: Reading, value: unknown, path: string, namespace: string): TlsContext | undefined {
  const fields = readObject(reading, value, path);
  if (fields === undefined) return undefined;
  checkFields(reading, fields, path, ["secret", "trustedCA", "certificate", "privateKey"]);
  const secret = readObject(reading, fields.secret, `${path}.secret`) ?? {};
  const optional = (from: string, to: string) => {
    const text = readString(reading, fields[from], `${path}.${from}`);
    return text === undefined || text === "" ? {} : { [to]: text };
  };
  return {
    secret: {
      namespace: readString(reading, secret.namespace, `${path}.secret.namespace`) ?? namespace,
      name: readString(reading, secret.name, `${path}.secret.name`) ?? "",
    },
    ...optional("trustedCA", "trustedCa"),
    ...optional("certificate", "certificate"),
    ...optional("privateKey", "privateKey"),
  };
}

function readListener(reading: Reading, value: unknown, path: string, scope: PortScope): ListenerRef | undefined {
  const fields = readObject(reading, value, path);
  if (fields === undefined) return undefined;
  checkFields(reading, fields, path, ["envoyConfig", "name", "priority"]);
  const config = readObject(reading, fields.envoyConfig, `${path}.envoyConfig`) ?? {};
  const listener = {
    configKind: readString(reading, config.kind, `${path}.envoyConfig.kind`) ?? "",
    configName: readString(reading, config.name, `${path}.envoyConfig.name`) ?? "",
    name: readString(reading, fields.name, `${path}.name`) ?? "",
    priority: readInteger(reading, fields.priority, `${path}.priority`, 0, 255) ?? 0,
  };
  if (scope.section === "egress") {
    const instead = "use rules.http, rules.dns or serverNames, or take the listener out";
    warnUnstorable(
      reading,
      path,
      `nobody serves listener "${listener.name}": no Envoy runs here, and connections on these ports would be reset; ${instead}`,
    );
  }
  if (scope.section === "ingress") refuse(reading, path, `a listener ("${listener.name}") is allowed on egress only`);
  return listener;
}

function checkL7Ports(reading: Reading, entries: readonly PortEntry[], rules: L7Rules, path: string): readonly PortEntry[] {
  const dns = rules.dns.length > 0;
  return entries.map((entry, i) => {
    const at = `${path}.ports[${i}]`;
    if (entry.isZero) refuse(reading, at, "application rules need a port other than 0");
    if (dns) {
      if (entry.isRange) refuse(reading, at, "DNS rules do not take port ranges");
      return entry;
    }
    if (entry.protocol === "TCP") return entry;
    if (entry.omitted && reading.settings.extensions) {
      warnPortability(reading, at, "an application rule needs protocol: TCP; it is taken as TCP here, Cilium refuses it");
      return { ...entry, specs: entry.specs.filter((spec) => spec.protocol === protocolNumber.TCP) };
    }
    const wanted = rules.http.length > 0 ? "HTTP" : "application";
    refuse(reading, `${at}.protocol`, `${wanted} rules need protocol TCP, found ${entry.protocol}; only DNS rules may have others`);
    return entry;
  });
}

function checkNode(reading: Reading, rules: L7Rules, path: string, scope: PortScope): void {
  if (!scope.onNode) return;
  if (scope.section === "ingress") refuse(reading, path, "application rules are not supported on the host's ingress");
  else if (rules.http.length > 0) refuse(reading, path, "HTTP rules are not supported on the host's egress; only DNS rules are");
}

function hasRules(rules: L7Rules | undefined): rules is L7Rules {
  return rules !== undefined && (rules.http.length > 0 || rules.dns.length > 0 || rules.kafka.length > 0);
}

/** What looks into the traffic has no say in a deny list, where the author may believe that it narrows the denial. */
function warnIgnored(reading: Reading, fields: Fields, path: string): void {
  for (const field of ["rules", "serverNames", "listener", "terminatingTLS", "originatingTLS"])
    if (fields[field] !== undefined && fields[field] !== null)
      warn(reading, `${path}.${field}`, "is ignored in a deny list, as in Cilium: everything on these ports is denied");
}

/** Reads one entry of `toPorts`. */
function readPortRule(reading: Reading, fields: Fields, path: string, scope: PortScope): PortRule {
  checkFields(reading, fields, path, ["ports", "rules", "terminatingTLS", "originatingTLS", "serverNames", "listener"]);
  const raw = readObjects(reading, fields.ports, `${path}.ports`) ?? [];
  if (raw.length > maxPorts) refuse(reading, `${path}.ports`, `has ${raw.length} entries, at most ${maxPorts} are allowed`);
  let entries = raw.map((one, i) => readPort(reading, one, `${path}.ports[${i}]`)).filter((one) => one !== undefined);
  if (scope.deny) warnIgnored(reading, fields, path);
  if (scope.deny) return { ports: entries.flatMap((one) => one.specs), serverNames: [] };
  const l7 = readL7(reading, fields.rules, `${path}.rules`, scope.section, raw.length);
  const serverNames = [...new Set(readStrings(reading, fields.serverNames, `${path}.serverNames`))];
  if (serverNames.includes("")) refuse(reading, `${path}.serverNames`, "a server name may not be empty");
  const terminatingTls = readTls(reading, fields.terminatingTLS, `${path}.terminatingTLS`, scope.namespace);
  const originatingTls = readTls(reading, fields.originatingTLS, `${path}.originatingTLS`, scope.namespace);
  const listener = readListener(reading, fields.listener, `${path}.listener`, scope);
  if (hasRules(l7)) {
    if (!reading.settings.l7Proxy)
      refuse(reading, `${path}.rules`, 'needs the L7 proxy, which the agent setting "enable-l7-proxy" switches off');
    if (serverNames.length > 0 && terminatingTls === undefined) {
      refuse(
        reading,
        `${path}.serverNames`,
        "server names beside application rules need terminatingTLS: the proxy can not read what it can not decrypt",
      );
    }
    checkNode(reading, l7, `${path}.rules`, scope);
    if (listener !== undefined)
      refuse(reading, `${path}.listener`, `a listener ("${listener.name}") can not stand beside application rules`);
    entries = [...checkL7Ports(reading, entries, l7, path)];
  }
  return {
    ports: entries.flatMap((one) => one.specs),
    l7: hasRules(l7) ? l7 : undefined,
    serverNames,
    terminatingTls,
    originatingTls,
    listener,
  };
}

/** Reads `toPorts`: undefined when it is absent or empty, which means the same. */
export function readPortRules(reading: Reading, value: unknown, path: string, scope: PortScope): PortRule[] | undefined {
  const list = readObjects(reading, value, path);
  if (list === undefined || list.length === 0) return undefined;
  return list.map((one, i) => readPortRule(reading, one, `${path}[${i}]`, scope));
}
