import type { FqdnSelector } from "#fqdn/pattern.ts";
import type { AuthType, HttpRule, KafkaRule, PeerSelector, PortSpec, RuleAction, RuleRef, TlsContext } from "../rule.ts";

/** Which proxy takes redirected traffic. `crd` is a listener of a CiliumEnvoyConfig. */
export type L7Parser = "http" | "dns" | "tls" | "kafka" | "crd";

/** Where traffic is redirected; the lower the priority, the stronger. */
export type Redirect = { readonly parser: L7Parser; readonly listener?: string | undefined; readonly priority: number };

/** Why an entry exists. */
export type EntryReason = "policy" | "allow-localhost" | "allow-any" | "deny-any";

/** What one or more rules say about one peer selector on one port, merged. */
export type Filter = {
  readonly spec: PortSpec;
  readonly peer: PeerSelector;
  readonly action: RuleAction;
  readonly tier: number;
  /** Position among all (tier, priority) of the endpoint and direction; 0 is the strongest. */
  readonly level: number;
  readonly redirect?: Redirect | undefined;
  readonly http: readonly HttpRule[];
  readonly dns: readonly FqdnSelector[];
  readonly kafka: readonly KafkaRule[];
  /** A plain rule stands beside these application rules: it allows everything of their protocol, unless they restrict. */
  readonly widened: boolean;
  /** The application rules win over plain rules of the same peers and port. */
  readonly restricts: boolean;
  readonly serverNames: readonly string[];
  readonly terminatingTls?: TlsContext | undefined;
  readonly originatingTls?: TlsContext | undefined;
  readonly auth?: AuthType | undefined;
  readonly emptyAuth?: string | undefined;
  readonly origins: readonly RuleRef[];
  readonly logs: readonly string[];
  readonly reason: EntryReason;
};

/** The priority of a redirect whose listener names none. */
export const parserPriority: Readonly<Record<L7Parser, number>> = { http: 101, kafka: 106, tls: 116, dns: 121, crd: 126 };

/** The strength of a filter in a policy map: by level, then deny, redirect, allow and pass. Higher wins. */
export function precedenceOf(filter: Pick<Filter, "action" | "level" | "redirect">): number {
  return precedence(filter.level, lowByte(filter));
}

function lowByte({ action, redirect }: Pick<Filter, "action" | "redirect">): number {
  if (action === "deny") return 255;
  if (action === "pass") return 0;
  return redirect === undefined ? 1 : 255 - redirect.priority;
}

/** The 32-bit precedence of a level and a strength within it (0 to 255). */
export function precedence(level: number, low: number): number {
  return (0xffffff - level) * 256 + low;
}

/** Whether the filter carries application rules. */
export function hasL7(filter: Pick<Filter, "http" | "dns" | "kafka">): boolean {
  return filter.http.length > 0 || filter.dns.length > 0 || filter.kafka.length > 0;
}
