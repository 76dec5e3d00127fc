import { parseAddress } from "#types/addr.ts";
import type { DirectionPolicies, EndpointPolicy, PolicyMessage, PortPolicy } from "../protocol.ts";
import { Checker, type Fields, type PolicyIssue } from "./checker.ts";
import { parsePeerRule } from "./parse-rule.ts";

const MAX_ISSUES = 20;

/**
 * Checks a policy message from the agent or from disk, completely: a policy is taken whole or not at all. Returns it, with addresses in
 * canonical form, or everything that is wrong with it.
 */
export function parsePolicyMessage(input: unknown): { readonly policy: PolicyMessage } | { readonly issues: readonly PolicyIssue[] } {
  const check = new Checker();
  const fields = check.object(input, "policy");
  const revision = check.integer(fields.revision, "revision", 0, Number.MAX_SAFE_INTEGER);
  const endpoints = check.list(fields.endpoints, "endpoints").map((item, i) => parseEndpoint(check, item, `endpoints[${i}]`));
  if (check.issues.length > 0) return { issues: check.issues.slice(0, MAX_ISSUES) };
  return { policy: { type: "policy", revision, endpoints } };
}

function parseEndpoint(check: Checker, input: unknown, path: string): EndpointPolicy {
  const fields = check.object(input, path);
  const ips = check.list(fields.ips, `${path}.ips`).map((ip, i) => {
    const address = typeof ip === "string" ? parseAddress(ip) : undefined;
    if (address === undefined) check.fail(`${path}.ips[${i}]`, "must be an IP address");
    return address ?? "";
  });
  return {
    id: check.integer(fields.id, `${path}.id`, 0, 65535),
    identity: check.integer(fields.identity, `${path}.identity`, 0, 0xffffffff),
    ips,
    ...(typeof fields.namespace === "string" ? { namespace: fields.namespace } : {}),
    ...(typeof fields.podName === "string" ? { podName: fields.podName } : {}),
    ...parseDirections(check, fields, path),
    ...(fields.audit === undefined ? {} : { audit: parseDirections(check, check.object(fields.audit, `${path}.audit`), `${path}.audit`) }),
  };
}

function parseDirections(check: Checker, fields: Fields, path: string): DirectionPolicies {
  const ports = (name: keyof DirectionPolicies) =>
    check.list(fields[name], `${path}.${name}`).map((item, i) => parsePort(check, item, `${path}.${name}[${i}]`));
  return { ingress: ports("ingress"), egress: ports("egress") };
}

function parsePort(check: Checker, input: unknown, path: string): PortPolicy {
  const fields = check.object(input, path);
  const port = check.integer(fields.port, `${path}.port`, 0, 65535);
  // Port 0 without an end stands for every port, as in the policy map.
  const endPort =
    fields.endPort === undefined || fields.endPort === 0 ? port || 65535 : check.integer(fields.endPort, `${path}.endPort`, port, 65535);
  if (fields.protocol !== "TCP") check.fail(`${path}.protocol`, "must be TCP");
  const rules = check.list(fields.rules, `${path}.rules`).map((item, i) => parsePeerRule(check, item, `${path}.rules[${i}]`));
  return { port, endPort, protocol: "TCP", rules, ...(fields.audited === true ? { audited: true } : {}) };
}
