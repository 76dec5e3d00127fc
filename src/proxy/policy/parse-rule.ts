import type { HttpRule, KafkaRule, PeerRule, TlsMaterial } from "../protocol.ts";
import type { Checker, Fields } from "./checker.ts";

const MISMATCHES = new Set(["LOG", "ADD", "DELETE", "REPLACE"]);

/** Checks one rule of a port, for `parsePolicyMessage`. */
export function parsePeerRule(check: Checker, input: unknown, path: string): PeerRule {
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
  return {
    identities,
    http,
    ...parseParser(check, fields, path),
    ...parseKafka(check, fields, path),
    ...parseTls(check, fields, path),
    origins,
  };
}

/** A rule with HTTP rules is for HTTP, whether it says so or not. */
function parseParser(check: Checker, { parser, http }: Fields, path: string): Pick<PeerRule, "parser"> {
  if (parser === "http" || parser === "kafka" || parser === "tls") return { parser };
  if (parser !== undefined) check.fail(`${path}.parser`, "must be http, kafka or tls");
  return http === null ? {} : { parser: "http" };
}

const KAFKA_FIELDS = ["role", "apiKey", "apiVersion", "clientID", "topic"] as const;

function parseKafka(check: Checker, { kafka }: Fields, path: string): Pick<PeerRule, "kafka"> {
  if (kafka === undefined || kafka === null) return {};
  for (const [i, rule] of check.list(kafka, `${path}.kafka`).entries()) {
    const fields = check.object(rule, `${path}.kafka[${i}]`);
    for (const name of KAFKA_FIELDS) {
      if (fields[name] !== undefined && typeof fields[name] !== "string") check.fail(`${path}.kafka[${i}].${name}`, "must be a text");
    }
    if (fields.role !== undefined && fields.role !== "produce" && fields.role !== "consume") {
      check.fail(`${path}.kafka[${i}].role`, "must be produce or consume");
    }
  }
  return { kafka: kafka as readonly KafkaRule[] };
}

function parseTls(check: Checker, fields: Fields, path: string): Pick<PeerRule, "serverNames" | "terminatingTls" | "originatingTls"> {
  const { serverNames } = fields;
  const found: { -readonly [Name in "serverNames" | "terminatingTls" | "originatingTls"]?: (PeerRule[Name] & {}) | null } = {};
  if (serverNames !== undefined && serverNames !== null) {
    const names = check.list(serverNames, `${path}.serverNames`);
    if (names.some((name) => typeof name !== "string")) check.fail(`${path}.serverNames`, "must be texts");
    found.serverNames = names as readonly string[];
  }
  for (const name of ["terminatingTls", "originatingTls"] as const) {
    if (fields[name] === undefined) continue;
    found[name] = fields[name] === null ? null : parseMaterial(check, fields[name], `${path}.${name}`);
  }
  return found;
}

function parseMaterial(check: Checker, input: unknown, path: string): TlsMaterial {
  const fields = check.object(input, path);
  for (const name of ["certificate", "privateKey", "trustedCa"]) {
    if (fields[name] !== undefined && typeof fields[name] !== "string") check.fail(`${path}.${name}`, "must be a text");
  }
  return fields as TlsMaterial;
}

/** The form only: what a rule says that no request can meet matches nothing, and is no reason to refuse everybody's policy. */
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
  return fields as HttpRule;
}

function checkHeaderMatch(check: Checker, input: unknown, path: string): void {
  const { name, value, mismatch } = check.object(input, path);
  if (typeof name !== "string") check.fail(`${path}.name`, "must be a text");
  if (value !== undefined && typeof value !== "string") check.fail(`${path}.value`, "must be a text");
  if (mismatch === undefined || mismatch === "") return;
  if (!MISMATCHES.has(String(mismatch))) check.fail(`${path}.mismatch`, "must be LOG, ADD, DELETE or REPLACE");
}
