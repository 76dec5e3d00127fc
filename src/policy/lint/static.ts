import type { Issue, ParsedPolicy, PortRule, Rule } from "../rule.ts";
import type { Finding, LintId, Severity } from "./finding.ts";

/** What the parser says of a policy by itself, by the words that it uses. */
const kinds: readonly { readonly words: RegExp; readonly id: LintId; readonly severity: Severity; readonly fix: string }[] = [
  { words: /an empty list means default deny/, id: "L01", severity: "warning", fix: "write `- {}` as the list's one entry" },
  { words: /kube-apiserver on 443/, id: "L15", severity: "warning", fix: "name the API server's own port beside it, usually 6443" },
  { words: /needs protocol: TCP/, id: "L07", severity: "warning", fix: "write `protocol: TCP` on the port" },
  { words: /not portable/, id: "L21", severity: "info", fix: "`cilium policy export --portable FILE` writes what every Cilium accepts" },
  {
    words: /is not an RE2 regular expression and matches nothing/,
    id: "L17",
    severity: "warning",
    fix: "a star needs something to repeat: `[^.]+\\.example\\.com` is one label before a domain, `.*\\.example\\.com` any number",
  },
  { words: /in a deny list/, id: "L27", severity: "warning", fix: "take it out; to deny only some requests, allow the others" },
  {
    words: /of its own namespace|has no namespace/,
    id: "L28",
    severity: "warning",
    fix: "take it out; pods of other namespaces are for a CiliumClusterwideNetworkPolicy to select",
  },
  { words: /./, id: "L16", severity: "warning", fix: "correct the spelling, or take it out" },
];

/** What a cluster refuses although the engine takes it: Cilia does not serve it. */
const unserved = /^nobody serves listener|^would select nobody: groups/;

function ofWarning({ ref }: ParsedPolicy, { path, message, stage }: Issue): Finding[] {
  if (unserved.test(message))
    return [{ id: "L26", severity: "error", policy: ref, path, message, fix: "take it out: a cluster refuses the policy" }];
  if (stage === "schema")
    return [{ id: "L25", severity: "error", policy: ref, path, message, fix: "correct it: as it is, no API server stores the policy" }];
  const kind = kinds.find(({ words }) => words.test(message));
  return kind === undefined ? [] : [{ id: kind.id, severity: kind.severity, policy: ref, path, message, fix: kind.fix }];
}

/** Whether application rules let only some of a port's traffic through. A DNS rule for every name is there to learn addresses, and narrows nothing. */
export function narrows({ l7, serverNames }: PortRule): boolean {
  const { http = [], dns = [], kafka = [] } = l7 ?? {};
  if (serverNames.length > 0 || kafka.length > 0) return true;
  if (http.length > 0) return http.every((rule) => Object.keys(rule).length > 0);
  return dns.length > 0 && dns.every(({ matchPattern }) => matchPattern !== "*");
}

/** Whether ports are allowed as they are, with nothing that looks into what they carry. */
export function isPlain({ l7, serverNames, listener, terminatingTls }: PortRule): boolean {
  return l7 === undefined && serverNames.length === 0 && listener === undefined && terminatingTls === undefined;
}

/** Whether a rule lets everybody through on every port. */
function isOpen(rule: Rule): boolean {
  return rule.action === "allow" && rule.ports === null && rule.peers.some((peer) => peer.any);
}

/** What a policy's text alone shows. */
export function* lintText(parsed: ParsedPolicy): Generator<Finding> {
  for (const { path, message } of parsed.issues)
    yield {
      id: "L00",
      severity: "error",
      policy: parsed.ref,
      path,
      message,
      fix: "correct it: until then nothing of the policy is enforced",
    };
  for (const warning of parsed.warnings) yield* ofWarning(parsed, warning);
  const open = /deny/i.test(parsed.ref.name) && !/allow/i.test(parsed.ref.name) ? parsed.rules.find(isOpen) : undefined;
  if (open === undefined || parsed.rules.some((rule) => rule.action === "deny")) return;
  const message = "the policy is named like a deny, but this rule allows everybody everything";
  const fix =
    open.policy.kind === "NetworkPolicy"
      ? "write the list without entries, `[]`: an empty entry allows all here"
      : "take the peers out: `- {}`";
  yield { id: "L12", severity: "warning", policy: parsed.ref, rule: open.origin, message, fix };
}
