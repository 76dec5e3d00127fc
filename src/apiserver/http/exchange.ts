import type { IncomingMessage, ServerResponse } from "node:http";
import { badRequest } from "../errors.ts";
import type { Core, FieldValidation, WriteOptions } from "../operations/core.ts";
import type { Tokens } from "../pki/token.ts";
import { type Accept, parseAccept } from "./accept.ts";

/** Who asks. */
export interface User {
  readonly name: string;
  readonly groups: readonly string[];
  readonly uid?: string;
}

/** One request on its way to an answer. */
export interface Exchange {
  readonly core: Core;
  readonly tokens: Tokens;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly accept: Accept;
  readonly user: User | undefined;
  /** Become `Warning` headers of the answer. */
  readonly warnings: string[];
  /** Aborted when the client goes away or the server stops. */
  readonly signal: AbortSignal;
}

export function openExchange(parts: Omit<Exchange, "method" | "path" | "query" | "accept" | "warnings">): Exchange {
  const url = new URL(parts.request.url ?? "/", "https://localhost");
  return {
    ...parts,
    method: parts.request.method ?? "GET",
    path: url.pathname,
    query: url.searchParams,
    accept: parseAccept(parts.request.headers.accept),
    warnings: [],
  };
}

/** What the query says about a write. Throws 400 for values that mean nothing. */
export function writeOptions(exchange: Exchange, subresource?: string): WriteOptions {
  const { query } = exchange;
  const dryRun = query.getAll("dryRun");
  if (dryRun.some((value) => value !== "All")) throw badRequest(`invalid dryRun ${JSON.stringify(dryRun)}: the only value is "All"`);
  const fieldValidation = query.get("fieldValidation") || "Warn";
  if (!["Strict", "Warn", "Ignore"].includes(fieldValidation)) {
    throw badRequest(`invalid fieldValidation ${JSON.stringify(fieldValidation)}: must be Strict, Warn or Ignore`);
  }
  return {
    dryRun: dryRun.length > 0,
    fieldManager: query.get("fieldManager") || managerFromAgent(exchange.request.headers["user-agent"]),
    fieldValidation: fieldValidation as FieldValidation,
    warn: (message) => exchange.warnings.push(message),
    ...(subresource ? { subresource } : {}),
  };
}

/** Clients that name no field manager are known by the first word of their User-Agent. */
function managerFromAgent(agent: string | undefined): string {
  return agent?.split("/")[0]?.slice(0, 128) || "unknown";
}

export function numberFrom(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === "") return undefined;
  if (!/^\d{1,12}$/.test(text)) throw badRequest(`invalid ${name} ${JSON.stringify(text)}: must be a number`);
  return Number(text);
}

export const isTrue = (text: string | null): boolean => text === "true" || text === "1";
