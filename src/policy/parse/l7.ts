import { RE2JS } from "re2js";
import { type FqdnSelector, validateFqdn } from "#fqdn/pattern.ts";
import { isFixedHeader } from "../l7/fixed-headers.ts";
import type { HeaderMatch, HttpRule, KafkaRule, L7Rules } from "../rule.ts";
import {
  checkFields,
  didYouMean,
  type Fields,
  type Reading,
  readObject,
  readObjects,
  readString,
  readStrings,
  refuse,
  warn,
  warnPortability,
} from "./reading.ts";

const mismatches = ["LOG", "ADD", "DELETE", "REPLACE"] as const;

/** A text, or whatever begins with one, as most patterns are: RE2 need not be asked. */
const plainPattern = /^[\w/-]*(\.\*)?$/;

/** What RE2 says against a pattern; undefined when it takes it. */
function re2Problem(pattern: string): string | undefined {
  if (plainPattern.test(pattern)) return undefined;
  try {
    RE2JS.compile(pattern);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Go, which Cilium checks with, lets two groups have one name; the proxy's RE2 does not. */
const isOnlyRe2s = (problem: string) => problem.includes("duplicate capture group name");

/** What Go says against a pattern; undefined when it takes it. */
export function regexProblem(pattern: string): string | undefined {
  const problem = re2Problem(pattern);
  return problem === undefined || isOnlyRe2s(problem) ? undefined : problem;
}

function checkRegex(reading: Reading, pattern: string | undefined, path: string): void {
  const problem = pattern === undefined || pattern === "" ? undefined : re2Problem(pattern);
  if (problem === undefined) return;
  if (isOnlyRe2s(problem))
    warn(reading, path, `"${pattern}" matches nothing: two of its groups have one name, which the proxy does not take`);
  else refuse(reading, path, `"${pattern}" is not an RE2 regular expression: ${problem}`);
}

function readHeaderMatch(reading: Reading, one: Fields, path: string): HeaderMatch {
  checkFields(reading, one, path, ["name", "value", "secret", "mismatch"]);
  const name = readString(reading, one.name, `${path}.name`) ?? "";
  if (name === "") refuse(reading, `${path}.name`, "a header needs a name");
  const mismatch = readString(reading, one.mismatch, `${path}.mismatch`) ?? "";
  const known = mismatches.find((word) => word === mismatch);
  if (mismatch !== "" && known === undefined) {
    refuse(reading, `${path}.mismatch`, `"${mismatch}" is not one of ${mismatches.join(", ")}${didYouMean(mismatch, mismatches)}`);
  }
  if (known !== undefined && known !== "LOG" && isFixedHeader(name))
    warn(reading, `${path}.name`, `${name} says where a request ends or goes; no policy may change it, so this rule matches nothing`);
  const secret = readObject(reading, one.secret, `${path}.secret`);
  const secretName = readString(reading, secret?.name, `${path}.secret.name`) ?? "";
  if (secret !== undefined && secretName === "") refuse(reading, `${path}.secret.name`, "a secret needs a name");
  const value = readString(reading, one.value, `${path}.value`);
  return {
    name,
    ...(value === undefined || value === "" ? {} : { value }),
    ...(secret === undefined
      ? {}
      : { secret: { namespace: readString(reading, secret.namespace, `${path}.secret.namespace`) ?? "", name: secretName } }),
    ...(known === undefined ? {} : { mismatch: known }),
  };
}

function readHttpRule(reading: Reading, one: Fields, path: string): HttpRule {
  checkFields(reading, one, path, ["path", "method", "host", "headers", "headerMatches"]);
  const text = (name: string) => {
    const value = readString(reading, one[name], `${path}.${name}`);
    return value === undefined || value === "" ? undefined : value;
  };
  const [pathText, method, host] = [text("path"), text("method"), text("host")];
  checkRegex(reading, pathText, `${path}.path`);
  checkRegex(reading, method, `${path}.method`);
  // Cilium does not check the host, so a bad one must not refuse the policy: it matches nothing.
  if (host !== undefined && regexProblem(host) !== undefined)
    warn(reading, `${path}.host`, `"${host}" is not an RE2 regular expression and matches nothing`);
  const headers = readStrings(reading, one.headers, `${path}.headers`);
  const headerMatches = readObjects(reading, one.headerMatches, `${path}.headerMatches`)?.map((match, i) =>
    readHeaderMatch(reading, match, `${path}.headerMatches[${i}]`),
  );
  return {
    ...(pathText === undefined ? {} : { path: pathText }),
    ...(method === undefined ? {} : { method }),
    ...(host === undefined ? {} : { host }),
    ...(headers === undefined || headers.length === 0 ? {} : { headers }),
    ...(headerMatches === undefined || headerMatches.length === 0 ? {} : { headerMatches }),
  };
}

function readDnsRule(reading: Reading, one: Fields, path: string): FqdnSelector {
  checkFields(reading, one, path, ["matchName", "matchPattern"]);
  const matchName = readString(reading, one.matchName, `${path}.matchName`) ?? "";
  const matchPattern = readString(reading, one.matchPattern, `${path}.matchPattern`) ?? "";
  const rule = { ...(matchName === "" ? {} : { matchName }), ...(matchPattern === "" ? {} : { matchPattern }) };
  for (const problem of validateFqdn(rule, false)) refuse(reading, path, problem);
  return rule;
}

function readKafkaRule(reading: Reading, one: Fields, path: string): KafkaRule | undefined {
  const text = (name: string) => readString(reading, one[name], `${path}.${name}`) ?? "";
  const role = text("role");
  if (role !== "" && role !== "produce" && role !== "consume") {
    warn(reading, `${path}.role`, `"${role}" is not produce or consume; the rule is ignored${didYouMean(role, ["produce", "consume"])}`);
    return undefined;
  }
  const fields = ["apiKey", "apiVersion", "clientID", "topic"].map((name) => [name, text(name)]).filter(([, value]) => value !== "");
  return { ...(role === "" ? {} : { role }), ...Object.fromEntries(fields) };
}

/** Reads `rules` of a `toPorts` entry: undefined when it is absent. `ports` is the number of port entries beside it. */
export function readL7(reading: Reading, value: unknown, path: string, section: "ingress" | "egress", ports: number): L7Rules | undefined {
  const fields = readObject(reading, value, path);
  if (fields === undefined) return undefined;
  checkFields(reading, fields, path, ["http", "dns", "kafka", "l7proto", "l7"]);
  if (fields.l7proto !== undefined || fields.l7 !== undefined) {
    warn(reading, path, "l7proto and l7 rules are ignored, as in Cilium 1.20: this entry allows all traffic on its ports");
  }
  const http = readObjects(reading, fields.http, `${path}.http`);
  const dns = readObjects(reading, fields.dns, `${path}.dns`);
  const kafka = readObjects(reading, fields.kafka, `${path}.kafka`);
  const empty = (http ?? []).length === 0 && (dns ?? []).length === 0;
  if (http !== undefined && dns !== undefined && !empty)
    refuse(reading, path, "has both http and dns rules; write one toPorts entry for each");
  if (dns !== undefined && dns.length > 0) {
    if (section === "ingress") refuse(reading, `${path}.dns`, "DNS rules are allowed on egress only");
    if (ports === 0) refuse(reading, `${path}.dns`, "DNS rules need a port, usually 53");
  }
  let kafkaRules: KafkaRule[] = [];
  if (kafka !== undefined && kafka.length > 0 && reading.settings.extensions) {
    warnPortability(reading, `${path}.kafka`, "Cilium 1.20 ignores Kafka rules and allows all traffic on the port; they are enforced here");
    kafkaRules = kafka.map((one, i) => readKafkaRule(reading, one, `${path}.kafka[${i}]`)).filter((one) => one !== undefined);
  }
  return {
    http: (http ?? []).map((one, i) => readHttpRule(reading, one, `${path}.http[${i}]`)),
    dns: (dns ?? []).map((one, i) => readDnsRule(reading, one, `${path}.dns[${i}]`)),
    kafka: kafkaRules,
  };
}
