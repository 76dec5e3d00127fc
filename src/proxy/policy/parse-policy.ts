import { parseAddress } from "#types/addr.ts";
import { isFieldValue, isToken } from "../http/header-fields.ts";
import type { EndpointPolicy, HttpRule, PeerRule, PolicyMessage, PortPolicy } from "../protocol.ts";
import { compileHttpRule } from "./http-rule.ts";

export interface PolicyIssue {
  readonly path: string;
  readonly message: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** Headers that steer framing or routing: no rule may change them. */
const FIXED_HEADERS = new Set(["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"]);
const MISMATCHES = new Set(["LOG", "ADD", "DELETE", "REPLACE"]);
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
  const ports = (name: "ingress" | "egress") =>
    check.list(fields[name], `${path}.${name}`).map((item, i) => parsePort(check, item, `${path}.${name}[${i}]`));
  return {
    id: check.integer(fields.id, `${path}.id`, 0, 65535),
    identity: check.integer(fields.identity, `${path}.identity`, 0, 0xffffffff),
    ips,
    ...(typeof fields.namespace === "string" ? { namespace: fields.namespace } : {}),
    ...(typeof fields.podName === "string" ? { podName: fields.podName } : {}),
    ingress: ports("ingress"),
    egress: ports("egress"),
  };
}

function parsePort(check: Checker, input: unknown, path: string): PortPolicy {
  const fields = check.object(input, path);
  const port = check.integer(fields.port, `${path}.port`, 0, 65535);
  // Port 0 without an end stands for every port, as in the policy map.
  const endPort =
    fields.endPort === undefined || fields.endPort === 0 ? port || 65535 : check.integer(fields.endPort, `${path}.endPort`, port, 65535);
  if (fields.protocol !== "TCP") check.fail(`${path}.protocol`, "must be TCP");
  if (fields.parser !== "http") check.fail(`${path}.parser`, "must be http");
  const rules = check.list(fields.rules, `${path}.rules`).map((item, i) => parsePeerRule(check, item, `${path}.rules[${i}]`));
  return { port, endPort, protocol: "TCP", parser: "http", rules };
}

function parsePeerRule(check: Checker, input: unknown, path: string): PeerRule {
  const fields = check.object(input, path);
  const identities =
    fields.identities === null
      ? null
      : check.list(fields.identities, `${path}.identities`).map((id, i) => check.integer(id, `${path}.identities[${i}]`, 0, 0xffffffff));
  const http =
    fields.http === null
      ? null
      : check.list(fields.http, `${path}.http`).map((rule, i) => parseHttpRule(check, rule, `${path}.http[${i}]`));
  const origins = check.list(fields.origins ?? [], `${path}.origins`) as PeerRule["origins"];
  return { identities, http, origins };
}

function parseHttpRule(check: Checker, input: unknown, path: string): HttpRule {
  const fields = check.object(input, path);
  for (const name of ["path", "method", "host"]) {
    if (fields[name] !== undefined && typeof fields[name] !== "string") check.fail(`${path}.${name}`, "must be a text");
  }
  for (const [i, header] of check.list(fields.headers ?? [], `${path}.headers`).entries()) {
    if (typeof header !== "string") check.fail(`${path}.headers[${i}]`, "must be a text");
  }
  for (const [i, match] of check.list(fields.headerMatches ?? [], `${path}.headerMatches`).entries()) {
    checkHeaderMatch(check, match, `${path}.headerMatches[${i}]`);
  }
  const rule = fields as HttpRule;
  if (check.issues.length === 0) {
    try {
      compileHttpRule(rule);
    } catch (thrown) {
      check.fail(path, `bad expression: ${(thrown as Error).message}`);
    }
  }
  return rule;
}

function checkHeaderMatch(check: Checker, input: unknown, path: string): void {
  const { name, value, mismatch } = check.object(input, path);
  if (typeof name !== "string") check.fail(`${path}.name`, "must be a text");
  if (value !== undefined && typeof value !== "string") check.fail(`${path}.value`, "must be a text");
  if (mismatch === undefined || mismatch === "") return;
  if (!MISMATCHES.has(String(mismatch))) check.fail(`${path}.mismatch`, "must be LOG, ADD, DELETE or REPLACE");
  if (mismatch === "LOG" || typeof name !== "string") return;
  if (!isToken(name)) check.fail(`${path}.name`, "must be a header name");
  if (FIXED_HEADERS.has(name.toLowerCase())) check.fail(`${path}.name`, `${name} cannot be changed by policy`);
  if (typeof value === "string" && !isFieldValue(value)) check.fail(`${path}.value`, "must be a header value without control characters");
}

/** Collects all issues; every method returns something usable, so that checking goes on. */
class Checker {
  readonly issues: PolicyIssue[] = [];

  fail(path: string, message: string): void {
    this.issues.push({ path, message });
  }

  object(value: unknown, path: string): Fields {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
    this.fail(path, "must be an object");
    return {};
  }

  list(value: unknown, path: string): readonly unknown[] {
    if (Array.isArray(value)) return value;
    this.fail(path, "must be a list");
    return [];
  }

  integer(value: unknown, path: string, min: number, max: number): number {
    if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
    this.fail(path, `must be a whole number from ${min} to ${max}`);
    return min;
  }
}
