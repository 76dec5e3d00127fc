import { fqdnMatcher, normalizeName } from "#fqdn/pattern.ts";
import type { AccessDenial, NearMiss, PeerRule, RuleOrigin, TlsContext } from "../protocol.ts";
import { parserOf } from "./peer-rules.ts";

/** What becomes of a TLS connection that asks for a name. */
export type TlsDecision =
  /** Passed on unread. */
  | { readonly action: "pass"; readonly origins: readonly RuleOrigin[] }
  /** Ended here; `rules` judge what is inside. */
  | {
      readonly action: "terminate";
      readonly origins: readonly RuleOrigin[];
      readonly terminating: TlsContext;
      readonly originating: TlsContext | undefined;
      readonly rules: readonly PeerRule[];
    }
  | { readonly action: "deny"; readonly denied: AccessDenial };

const MAX_NEAREST = 3;

/** Judges a name by the rules for the peer. A client that names nobody passes only where every name does. */
export function decideTls(rules: readonly PeerRule[], serverName: string | undefined): TlsDecision {
  const matching = rules.filter((rule) => acceptsName(rule, serverName));
  const terminating = matching.find((rule) => rule.terminatingTls !== undefined);
  if (terminating?.terminatingTls !== undefined) {
    const origins = matching.flatMap((rule) => rule.origins);
    const originating = matching.find((rule) => rule.originatingTls !== undefined)?.originatingTls;
    return { action: "terminate", origins, terminating: terminating.terminatingTls, originating, rules: matching };
  }
  const passing = matching.find((rule) => rule.originatingTls === undefined && (parserOf(rule) ?? "tls") === "tls");
  if (passing !== undefined) return { action: "pass", origins: passing.origins };
  return { action: "deny", denied: denialOf(rules, serverName ?? "") };
}

function acceptsName({ serverNames }: PeerRule, name: string | undefined): boolean {
  if (serverNames === undefined || serverNames === null) return true;
  return name !== undefined && serverNames.some((pattern) => matcherOf(pattern)(normalizeName(name)));
}

const matchers = new Map<string, (name: string) => boolean>();
const MAX_MATCHERS = 10_000;

function matcherOf(pattern: string): (name: string) => boolean {
  let found = matchers.get(pattern);
  if (found === undefined) {
    found = fqdnMatcher(pattern.includes("*") ? { matchPattern: pattern } : { matchName: pattern });
    if (matchers.size >= MAX_MATCHERS) matchers.clear();
    matchers.set(pattern, found);
  }
  return found;
}

function denialOf(rules: readonly PeerRule[], found: string): AccessDenial {
  const nearest = rules.slice(0, MAX_NEAREST).map((rule): NearMiss => {
    const wanted = rule.serverNames?.join(", ") ?? parserOf(rule) ?? "";
    return { origins: rule.origins, mismatches: [{ field: "serverName", wanted, found }] };
  });
  return { reason: "policy", origins: rules.flatMap((rule) => rule.origins), nearest };
}
