import type { L7Policy, L7Rule } from "#policy/resolve/l7-policy.ts";
import type { HttpRule, SecretRef, TlsContext } from "#policy/rule.ts";
import type { PeerRule, PortPolicy, HttpRule as ProxyHttpRule, TlsContext as ProxyTlsContext } from "#proxy/protocol.ts";
import { protocolNumber } from "#types/proto.ts";

/** The values of a Secret; undefined while it is unknown. */
export type SecretLookup = (ref: SecretRef) => Readonly<Record<string, string>> | undefined;

/** The rules of one direction in the proxy's words, with what they need of Secrets. What it has no parser for is left out, and so denied. */
export function proxyRules(policies: readonly L7Policy[], secrets: SecretLookup): PortPolicy[] {
  return policies
    .filter(({ protocol }) => protocol === protocolNumber.TCP || protocol === 0)
    .map(({ port, endPort, rules }) => ({
      port: Math.max(port, 1),
      ...(endPort > port ? { endPort } : {}),
      protocol: "TCP" as const,
      rules: rules.filter(isForProxy).map((rule) => peerRule(rule, secrets)),
    }))
    .filter(({ rules }) => rules.length > 0);
}

function isForProxy({ parser }: L7Rule): boolean {
  return parser !== "dns" && parser !== "crd";
}

function peerRule(rule: L7Rule, secrets: SecretLookup): PeerRule {
  const { identities, http, kafka, serverNames, terminatingTls, originatingTls, origins } = rule;
  return {
    identities,
    ...parserOf(rule),
    http: http?.map((one) => httpRule(one, rule, secrets)) ?? null,
    ...(kafka === null ? {} : { kafka }),
    ...(serverNames === null ? {} : { serverNames }),
    ...(terminatingTls === undefined ? {} : { terminatingTls: tlsOf(terminatingTls, secrets, TERMINATING) }),
    ...(originatingTls === undefined ? {} : { originatingTls: tlsOf(originatingTls, secrets, ORIGINATING) }),
    origins,
  };
}

/** A call by TLS for a client that speaks in the clear is made for HTTP. */
function parserOf({ parser, serverNames, terminatingTls }: L7Rule): Pick<PeerRule, "parser"> {
  if (parser === "tls" && serverNames === null && terminatingTls === undefined) return { parser: "http" };
  return parser === "http" || parser === "kafka" || parser === "tls" ? { parser } : {};
}

/** The Secrets that rules name, each with its namespace. */
export function secretsOf(policies: readonly L7Policy[]): SecretRef[] {
  return policies.flatMap(({ rules }) =>
    rules.flatMap((rule) => [
      ...[rule.terminatingTls, rule.originatingTls].flatMap((tls) => (tls === undefined ? [] : [tls.secret])),
      ...(rule.http ?? []).flatMap(({ headerMatches = [] }) =>
        headerMatches.flatMap(({ secret }) => (secret ? [placed(secret, rule)] : [])),
      ),
    ]),
  );
}

/** A Secret without a namespace is one of the policy's. */
function placed({ namespace, name }: SecretRef, { origins }: L7Rule): SecretRef {
  return { namespace: namespace === "" ? (origins[0]?.namespace ?? "") : namespace, name };
}

function httpRule({ headerMatches, ...rest }: HttpRule, rule: L7Rule, secrets: SecretLookup): ProxyHttpRule {
  if (headerMatches === undefined) return rest;
  return {
    ...rest,
    headerMatches: headerMatches.map(({ secret, ...match }) => {
      if (secret === undefined) return match;
      const ref = placed(secret, rule);
      // As in Cilium, a Secret for a header has one value, and the policy's own takes the place of one that is not there or empty. With neither the
      // proxy lets nothing match; an empty one alone asks for the header with any value.
      const values = Object.values(secrets(ref) ?? {});
      const found = values.length === 1 ? values[0] : undefined;
      const value = found || (match.value ?? found);
      return { ...match, secret: ref, ...(value === undefined ? {} : { value }) };
    }),
  };
}

/** Names of a Secret's entries when the policy gives none, as in Cilium; what the policy names must be there. */
const TERMINATING = { certificate: "tls.crt", privateKey: "tls.key" } as const;
const ORIGINATING = { trustedCa: "ca.crt" } as const;

function tlsOf(tls: TlsContext, secrets: SecretLookup, names: typeof TERMINATING | typeof ORIGINATING): ProxyTlsContext {
  const values = secrets(tls.secret);
  if (values === undefined) return null;
  const found: Record<string, string> = {};
  for (const field of ["certificate", "privateKey", "trustedCa"] as const) {
    const fallback: string | undefined = (names as Readonly<Record<string, string>>)[field];
    const value = values[tls[field] ?? fallback ?? ""];
    if (value !== undefined) found[field] = value;
    else if (tls[field] !== undefined || fallback !== undefined) return null;
  }
  return found;
}
