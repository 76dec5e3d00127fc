import type { L7Policy, L7Rule } from "#policy/resolve/l7-policy.ts";
import type { EndpointPolicy } from "#policy/resolve/resolve.ts";
import type { Flow } from "#policy/resolve/verdict.ts";
import type { TlsContext } from "#policy/rule.ts";
import { protocolNumber } from "#types/proto.ts";

const cached = new WeakMap<EndpointPolicy, Record<string, L7Policy[]>>();

function policiesOf(policy: EndpointPolicy, direction: Flow["direction"]): L7Policy[] {
  const known = cached.get(policy) ?? {};
  known[direction] ??= policy.l7(direction);
  cached.set(policy, known);
  return known[direction];
}

function covers({ protocol, port, endPort }: L7Policy, flow: Flow): boolean {
  if (protocol !== 0 && protocol !== flow.protocol) return false;
  if (port === 0 && endPort !== 0) return true;
  return flow.port >= port && flow.port <= (endPort === 0 ? port : endPort);
}

const names: Readonly<Record<number, string>> = {
  0: "ANY",
  [protocolNumber.TCP]: "TCP",
  [protocolNumber.UDP]: "UDP",
  [protocolNumber.SCTP]: "SCTP",
};

function secretOf({ secret }: TlsContext): string {
  return `${secret.namespace}/${secret.name}`;
}

/** The data's rules in the form of `describe`: an end that makes no range, at or below the port, is none. */
export function expectedL7(rules: readonly Record<string, unknown>[]): unknown {
  return canonical(
    rules.map(({ endPort, ...rest }) =>
      endPort === undefined || Number(endPort) <= Number(rest.port) || (rest.port === 0 && rest.portName === undefined)
        ? rest
        : { ...rest, endPort },
    ),
  );
}

function describe(one: L7Policy, rule: L7Rule): Record<string, unknown> {
  // The data gives a named port by its name alone.
  const described: Record<string, unknown> = { port: one.portName === undefined ? one.port : 0, protocol: names[one.protocol] };
  if (one.endPort !== 0 && one.port !== 0) described.endPort = one.endPort;
  if (one.portName !== undefined) described.portName = one.portName;
  if (rule.parser !== undefined) described.parser = rule.parser;
  if (rule.listener !== undefined) described.listener = rule.listener;
  if (rule.http !== null) described.http = rule.http;
  if (rule.dns !== null) described.dns = rule.dns;
  if (rule.serverNames !== null) described.serverNames = [...rule.serverNames].sort();
  if (rule.terminatingTls !== undefined) described.terminatingTLS = secretOf(rule.terminatingTls);
  if (rule.originatingTls !== undefined) described.originatingTLS = secretOf(rule.originatingTls);
  return described;
}

/** A value with its fields and lists sorted, so that equal contents are equal texts: the order of rules means nothing. */
export function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, canonical(inner)]),
  );
}

/** The application rules that cover a flow, sorted and each once. */
export function l7Of(policy: EndpointPolicy, flow: Flow): unknown[] {
  const found = new Set<string>();
  for (const one of policiesOf(policy, flow.direction)) {
    if (!covers(one, flow)) continue;
    for (const rule of one.rules) {
      if (rule.identities === null || rule.identities.includes(flow.identity)) found.add(JSON.stringify(canonical(describe(one, rule))));
    }
  }
  return canonical([...found].map((text) => JSON.parse(text) as unknown)) as unknown[];
}
