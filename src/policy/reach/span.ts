import { formatProtocol, hasPorts, protocolNumber } from "#types/proto.ts";

/** Stands for every protocol that no rule names. The number is one that IANA keeps for experiments, so that rules for all protocols cover it. */
export const otherProtocols = 253;

/** A run of ports (for ICMP of types) of one protocol, all treated alike. */
export type Span = {
  readonly protocol: number;
  readonly first: number;
  readonly last: number;
  /** What a proxy lets through; empty where everything passes. */
  readonly l7: string;
};

/** What one may send to another: spans without overlap, in order. */
export type Reach = readonly Span[];

/** The last port, or type, that a protocol has; 0 where it has none. */
export function lastOf(protocol: number): number {
  if (hasPorts(protocol)) return 0xffff;
  return protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6 ? 0xff : 0;
}

/** Joins neighbours that are alike. Takes spans in order. */
export function joined(spans: readonly Span[]): Reach {
  const result: Span[] = [];
  for (const one of spans) {
    const before = result.at(-1);
    const touches = before !== undefined && before.protocol === one.protocol && before.l7 === one.l7 && before.last + 1 === one.first;
    if (touches) result[result.length - 1] = { ...before, last: one.last };
    else result.push(one);
  }
  return result;
}

/** The ports in both, and what both proxies let through. */
export function intersect(a: Reach, b: Reach): Reach {
  return joined(overlaps(a, b).map(({ span, left, right }) => ({ ...span, l7: bothOf(left.l7, right.l7) })));
}

function bothOf(a: string, b: string): string {
  if (a === "" || a === b) return b;
  return b === "" ? a : `${a} and also ${b}`;
}

/** The parts of `a` whose ports are not in `b`. */
export function subtract(a: Reach, b: Reach): Reach {
  return a.flatMap((span) => {
    const parts: Span[] = [];
    let next = span.first;
    for (const other of b) {
      if (other.protocol !== span.protocol || other.last < next || other.first > span.last) continue;
      if (other.first > next) parts.push({ ...span, first: next, last: other.first - 1 });
      next = other.last + 1;
    }
    if (next <= span.last) parts.push({ ...span, first: next });
    return parts;
  });
}

/** Ports in both that differ in what a proxy lets through. */
export function l7Changes(a: Reach, b: Reach): { readonly before: Span; readonly after: Span }[] {
  return overlaps(a, b)
    .filter(({ left, right }) => left.l7 !== right.l7)
    .map(({ span, left, right }) => ({ before: { ...span, l7: left.l7 }, after: { ...span, l7: right.l7 } }));
}

function overlaps(a: Reach, b: Reach): { readonly span: Omit<Span, "l7">; readonly left: Span; readonly right: Span }[] {
  return a.flatMap((left) =>
    b.flatMap((right) => {
      const [first, last] = [Math.max(left.first, right.first), Math.min(left.last, right.last)];
      return left.protocol === right.protocol && first <= last ? [{ span: { protocol: left.protocol, first, last }, left, right }] : [];
    }),
  );
}

/** `80/TCP`, `8000-8080/UDP (HTTP GET /v1/.*)`, `everything`. `protocols` are all that a reach may have. */
export function formatReach(reach: Reach, protocols: readonly number[]): string {
  const [first] = reach;
  if (first === undefined) return "nothing";
  const isFull = (protocol: number) => reach.some((one) => one.protocol === protocol && one.first === 0 && one.last === lastOf(protocol));
  const alike = reach.every(({ l7 }) => l7 === first.l7);
  if (alike && protocols.every(isFull)) return withL7("everything", first.l7);
  return reach.map(formatSpan).join(", ");
}

/** One span in words. */
export function formatSpan({ protocol, first, last, l7 }: Span): string {
  const name = protocol === otherProtocols ? "other protocols" : formatProtocol(protocol);
  if (first === 0 && last === lastOf(protocol)) return withL7(lastOf(protocol) === 0 ? name : `all ${name}`, l7);
  const range = first === last ? String(first) : `${first}-${last}`;
  return withL7(hasPorts(protocol) ? `${range}/${name}` : `${name} type ${range}`, l7);
}

function withL7(text: string, l7: string): string {
  return l7 === "" ? text : `${text} (${l7})`;
}
