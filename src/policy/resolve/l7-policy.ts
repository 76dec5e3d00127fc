import type { FqdnSelector } from "#fqdn/pattern.ts";
import type { Direction } from "#types/direction.ts";
import type { NumericIdentity } from "#types/identity.ts";
import type { HttpRule, KafkaRule, RuleRef, TlsContext } from "../rule.ts";
import type { NamedPort, SelectorCache } from "../selectors/selector-cache.ts";
import { type Filter, hasL7, type L7Parser } from "./filter.ts";

/** What a proxy may let through for some peers: an absent list means everything of that kind. */
export type L7Rule = {
  /** Null: any peer. */
  readonly identities: readonly NumericIdentity[] | null;
  readonly parser?: L7Parser | undefined;
  readonly listener?: string | undefined;
  readonly http: readonly HttpRule[] | null;
  readonly dns: readonly FqdnSelector[] | null;
  readonly kafka: readonly KafkaRule[] | null;
  readonly serverNames: readonly string[] | null;
  readonly terminatingTls?: TlsContext | undefined;
  readonly originatingTls?: TlsContext | undefined;
  readonly origins: readonly RuleRef[];
};

/** The application rules of one port, or range, of a direction. A request passes when one rule for its peer allows it. */
export type L7Policy = {
  readonly port: number;
  /** 0 when it is no range. */
  readonly endPort: number;
  /** 0: any protocol. */
  readonly protocol: number;
  /** The name of a named port, for people. */
  readonly portName?: string | undefined;
  readonly rules: readonly L7Rule[];
};

/** Where an L7 policy is made for: named ports are the receiver's. */
export type L7Scope = {
  readonly direction: Direction;
  readonly subject: { readonly namedPorts: readonly NamedPort[] };
};

type Span = { readonly protocol: number; readonly first: number; readonly last: number; readonly name: string };
type Placed = { readonly filter: Filter; readonly span: Span; readonly identities: readonly NumericIdentity[] | null };

function spanOf(filter: Filter, port: number, name: string): Span {
  const { protocol, endPort } = filter.spec;
  if (port === 0) return { protocol, first: 0, last: 0xffff, name };
  return { protocol, first: port, last: Math.max(port, endPort), name };
}

function selected(filter: Filter, cache: SelectorCache): readonly NumericIdentity[] | null {
  if (filter.peer.any) return null;
  const cached = cache.acquire(filter.peer, filter);
  const ids = [...cached.identities].sort((a, b) => a - b);
  cache.release(filter.peer, filter);
  return ids;
}

/** Where a filter applies, and for whom. On egress a named port is looked up for each peer. */
function place(filter: Filter, cache: SelectorCache, { direction, subject }: L7Scope): Placed[] {
  const { name, port, protocol } = filter.spec;
  if (name === "") return [{ filter, span: spanOf(filter, port, ""), identities: selected(filter, cache) }];
  const fits = (one: NamedPort) => one.name === name && one.protocol === protocol;
  if (direction === "ingress") {
    const identities = selected(filter, cache);
    return subject.namedPorts.filter(fits).map((one) => ({ filter, span: spanOf(filter, one.port, name), identities }));
  }
  const byPort = new Map<number, NumericIdentity[]>();
  for (const id of selected(filter, cache) ?? cache.identities()) {
    for (const one of cache.entry(id)?.namedPorts?.filter(fits) ?? []) byPort.set(one.port, [...(byPort.get(one.port) ?? []), id]);
  }
  return [...byPort].map(([number, identities]) => ({ filter, span: spanOf(filter, number, name), identities }));
}

function overlaps(a: Span, b: Span): boolean {
  const protocols = a.protocol === b.protocol || a.protocol === 0 || b.protocol === 0;
  return protocols && a.first <= b.last && b.first <= a.last;
}

/** A weaker level's rule does not widen what a stronger one restricts, for the peers of the stronger one; nor does a plain rule beside one that restricts. */
function withoutStronger(one: Placed, placed: readonly Placed[], cache: SelectorCache): readonly NumericIdentity[] | null {
  const { level, redirect } = one.filter;
  const beats = (other: Filter) => other.level < level || (other.restricts && redirect === undefined && other.level === level);
  const stronger = placed.filter((other) => beats(other.filter) && overlaps(other.span, one.span));
  if (stronger.length === 0) return one.identities;
  if (stronger.some((other) => other.identities === null)) return [];
  const taken = new Set(stronger.flatMap((other) => other.identities ?? []));
  return [...(one.identities ?? cache.identities())].filter((id) => !taken.has(id));
}

function ruleOf({ filter }: Placed, identities: readonly NumericIdentity[] | null): L7Rule {
  const restricted = hasL7(filter);
  const listOf = <T>(list: readonly T[]) => (restricted && list.length > 0 ? list : null);
  return {
    identities,
    parser: filter.redirect?.parser,
    listener: filter.redirect?.listener,
    http: listOf(filter.http),
    dns: listOf(filter.dns),
    kafka: listOf(filter.kafka),
    serverNames: filter.serverNames.length > 0 ? filter.serverNames : null,
    terminatingTls: filter.terminatingTls,
    originatingTls: filter.originatingTls,
    origins: filter.origins,
  };
}

/** The application rules of a direction: every allow that shares traffic with a redirect, so that the proxies see what else is allowed there. */
export function l7Policies(filters: readonly Filter[], cache: SelectorCache, scope: L7Scope): L7Policy[] {
  const redirects = filters.filter((one) => one.redirect !== undefined);
  if (redirects.length === 0) return [];
  const placed = filters.filter((one) => one.action === "allow").flatMap((one) => place(one, cache, scope));
  const redirected = placed.filter((one) => one.filter.redirect !== undefined);
  const policies = new Map<string, { span: Span; rules: L7Rule[] }>();
  for (const one of placed) {
    if (!redirected.some((other) => overlaps(other.span, one.span))) continue;
    const identities = withoutStronger(one, redirected, cache);
    if (identities !== null && identities.length === 0) continue;
    const key = `${one.span.protocol}/${one.span.first}/${one.span.last}/${one.span.name}`;
    const present = policies.get(key) ?? { span: one.span, rules: [] };
    present.rules.push(ruleOf(one, identities));
    policies.set(key, present);
  }
  return [...policies.values()].map(({ span, rules }) => ({
    protocol: span.protocol,
    port: span.first,
    endPort: span.last > span.first ? span.last : 0,
    ...(span.name === "" ? {} : { portName: span.name }),
    rules,
  }));
}
