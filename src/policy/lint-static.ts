import type { Finding } from "./lint.ts";
import type { ParsedPolicy, PeerSelector, PortSpec, Rule } from "./rule.ts";

/** Whether a rule has application rules on some port. */
export function hasL7Rules(rule: Rule): boolean {
  return rule.ports?.some((one) => one.l7 !== undefined) === true;
}

/** What a policy alone shows to be probably not meant. */
export function* lintPolicy(parsed: ParsedPolicy): Generator<Finding> {
  for (const { path, message, stage } of parsed.warnings) {
    if (stage === "portability") yield { id: "L21", severity: "info", policy: parsed.ref, message: `${path}: ${message}` };
    else yield { id: "L16", severity: "warning", policy: parsed.ref, message: `${path}: ${message}` };
  }
  yield* defaultDenyName(parsed);
  for (const rule of parsed.rules) {
    const at = { policy: parsed.ref, rule: rule.origin };
    for (const message of broadNames(rule.peers)) yield { id: "L11", severity: "warning", ...at, message };
    for (const message of httpPatterns(rule)) yield { id: "L17", severity: "info", ...at, message };
  }
  yield* namesWithoutDns(parsed);
}

function* defaultDenyName({ ref, rules }: ParsedPolicy): Generator<Finding> {
  if (!/deny-?all|default-?deny/i.test(ref.name)) return;
  const open = rules.find((rule) => rule.action === "allow" && rule.ports === null && rule.peers.some((peer) => peer.any));
  if (open !== undefined) {
    yield {
      id: "L12",
      severity: "warning",
      policy: ref,
      rule: open.origin,
      message: `the policy is named like a default deny, but this rule allows everybody everything`,
    };
  }
}

function* broadNames(peers: readonly PeerSelector[]): Generator<string> {
  for (const { fqdn } of peers) {
    const pattern = fqdn?.matchPattern ?? "";
    if (/^\*+\.?$/.test(pattern)) yield `the pattern "${pattern}" is every name, so the rule allows every address that was ever looked up`;
    else if (/^\*+\.[a-z]+\.?$/i.test(pattern)) yield `the pattern "${pattern}" is a whole top-level domain`;
  }
}

function* httpPatterns(rule: Rule): Generator<string> {
  for (const { path, host } of rule.ports?.flatMap((one) => one.l7?.http ?? []) ?? []) {
    if (path !== undefined && path.length > 1 && /\/$/.test(path)) {
      yield `the path "${path}" matches just that path, as patterns match the whole path; write "${path}.*" for what lies below`;
    }
    if (host !== undefined && /[a-z]\.[a-z]/i.test(host.replaceAll("\\.", ""))) {
      yield `the host "${host}" has a dot that stands for any character; write "${host.replaceAll(/(?<!\\)\./g, "\\.")}"`;
    }
  }
}

function isDns({ protocol, port, endPort }: PortSpec): boolean {
  return (protocol === 17 || protocol === 0) && port <= 53 && Math.max(port, endPort) >= 53;
}

function* namesWithoutDns({ ref, rules }: ParsedPolicy): Generator<Finding> {
  const named = rules.find((rule) => rule.peers.some((peer) => peer.fqdn !== undefined));
  if (named === undefined) return;
  const learns = rules.some((rule) => rule.ports?.some((one) => (one.l7?.dns.length ?? 0) > 0));
  const reaches = rules.some((rule) => rule.direction === "egress" && rule.ports?.some((one) => one.ports.some(isDns)) === true);
  if (learns) return;
  const message = reaches
    ? "toFQDNs without a DNS rule (rules.dns): answers are learned in passing here, but Cilium learns none"
    : "toFQDNs, and no rule of this policy lets the pods ask DNS: unless another one does, no name will ever be known";
  yield { id: "L02", severity: "warning", policy: ref, rule: named.origin, message };
}
