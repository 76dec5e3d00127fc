import { validateFqdn } from "#fqdn/pattern.ts";
import { parseAddress } from "#types/addr.ts";
import { Checker, type PolicyIssue } from "../policy/checker.ts";
import {
  DEFAULT_DNS_SETTINGS,
  type DnsEndpoint,
  type DnsPolicyMessage,
  type DnsPort,
  type DnsRule,
  type DnsSettings,
  type NamedIdentity,
} from "./protocol.ts";

const MAX_ISSUES = 20;
const MAX_IDENTITY = 0xffffffff;
const PROTOCOLS: readonly unknown[] = [0, 6, 17];

/** Checks a DNS policy from the agent or from disk, completely: it is taken whole or not at all. Addresses come out in canonical form. */
export function parseDnsPolicy(input: unknown): { readonly policy: DnsPolicyMessage } | { readonly issues: readonly PolicyIssue[] } {
  const check = new Checker();
  const fields = check.object(input, "dns-policy");
  const revision = check.integer(fields.revision, "revision", 0, Number.MAX_SAFE_INTEGER);
  const settings = parseSettings(check, fields.settings);
  const endpoints = check.list(fields.endpoints, "endpoints").map((item, i) => parseEndpoint(check, item, `endpoints[${i}]`));
  if (check.issues.length > 0) return { issues: check.issues.slice(0, MAX_ISSUES) };
  return { policy: { type: "dns-policy", revision, settings, endpoints } };
}

function parseSettings(check: Checker, input: unknown): DnsSettings {
  const fields = check.object(input, "settings");
  const { rejectWith } = fields;
  if (rejectWith !== "refused" && rejectWith !== "nameError") check.fail("settings.rejectWith", "must be refused or nameError");
  // What an agent before this proxy did not know is as if it were not set.
  const number = (name: Exclude<keyof DnsSettings, "rejectWith">, min: number) =>
    check.integer(fields[name] ?? DEFAULT_DNS_SETTINGS[name], `settings.${name}`, min, Number.MAX_SAFE_INTEGER);
  return {
    rejectWith: rejectWith === "nameError" ? "nameError" : "refused",
    minTtl: number("minTtl", 0),
    maxIpsPerName: number("maxIpsPerName", 1),
    maxDeferred: number("maxDeferred", 0),
    grace: number("grace", 0),
    maxCalls: number("maxCalls", 0),
  };
}

function parseEndpoint(check: Checker, input: unknown, path: string): DnsEndpoint {
  const fields = check.object(input, path);
  if (typeof fields.key !== "string") check.fail(`${path}.key`, "must be a text");
  const ips = check.list(fields.ips, `${path}.ips`).map((ip, i) => {
    const address = typeof ip === "string" ? parseAddress(ip) : undefined;
    if (address === undefined) check.fail(`${path}.ips[${i}]`, "must be an IP address");
    return address ?? "";
  });
  return {
    id: check.integer(fields.id, `${path}.id`, 1, 65535),
    key: String(fields.key),
    identity: check.integer(fields.identity, `${path}.identity`, 0, MAX_IDENTITY),
    ips,
    ports: check.list(fields.ports, `${path}.ports`).map((port, i) => parsePort(check, port, `${path}.ports[${i}]`)),
    ...(fields.audit === undefined
      ? {}
      : { audit: check.list(fields.audit, `${path}.audit`).map((port, i) => parsePort(check, port, `${path}.audit[${i}]`)) }),
    selectors: check.list(fields.selectors, `${path}.selectors`).map((one, i) => parseSelector(check, one, `${path}.selectors[${i}]`)),
  };
}

function parsePort(check: Checker, input: unknown, path: string): DnsPort {
  const fields = check.object(input, path);
  if (!PROTOCOLS.includes(fields.protocol)) check.fail(`${path}.protocol`, "must be 6 (TCP), 17 (UDP) or 0 (both)");
  return {
    port: check.integer(fields.port, `${path}.port`, 1, 65535),
    protocol: Number(fields.protocol),
    rules: check.list(fields.rules, `${path}.rules`).map((rule, i) => parseRule(check, rule, `${path}.rules[${i}]`)),
  };
}

function parseRule(check: Checker, input: unknown, path: string): DnsRule {
  const fields = check.object(input, path);
  const identities =
    fields.identities === null
      ? null
      : check.list(fields.identities, `${path}.identities`).map((id, i) => check.integer(id, `${path}.identities[${i}]`, 0, MAX_IDENTITY));
  const names =
    fields.names === null ? null : check.list(fields.names, `${path}.names`).map((one, i) => parseName(check, one, `${path}.names[${i}]`));
  return { identities, names, origins: check.list(fields.origins ?? [], `${path}.origins`) as DnsRule["origins"] };
}

function parseName(check: Checker, input: unknown, path: string) {
  const { matchName, matchPattern } = check.object(input, path);
  for (const value of [matchName, matchPattern]) {
    if (value !== undefined && typeof value !== "string") check.fail(path, "matchName and matchPattern must be texts");
  }
  const selector = {
    ...(typeof matchName === "string" ? { matchName } : {}),
    ...(typeof matchPattern === "string" ? { matchPattern } : {}),
  };
  for (const problem of validateFqdn(selector, true)) check.fail(path, problem);
  return selector;
}

function parseSelector(check: Checker, input: unknown, path: string): NamedIdentity {
  const identity = check.integer(check.object(input, path).identity, `${path}.identity`, 1, MAX_IDENTITY);
  return { ...parseName(check, input, path), identity };
}
