import { TARGET } from "../http/request-head.ts";
import type { HttpRule, PeerRule } from "../protocol.ts";

/** A method (empty: any) and how "path?query" must begin; a rule for one path alone ends in a blank, which no path has. */
export interface KernelPath {
  readonly method: string;
  readonly path: string;
}

/** What one client may ask a port for. */
export interface KernelRules {
  readonly allowAll: boolean;
  readonly paths: readonly KernelPath[];
}

/** Lengths of `http_path_key` in bpf/lib/http_maps.h. */
const METHOD_MAX = 16;
const PATH_MAX = 232;

/** Whoever has no rules of its own. */
export const ANYBODY = 0;

/**
 * The rules of a port as the kernel can decide them, by identity; undefined when it cannot decide them all: expressions other than words,
 * `words.*` and alternatives of them, conditions on hosts or headers, other protocols.
 */
export function kernelRules(rules: readonly PeerRule[]): ReadonlyMap<number, KernelRules> | undefined {
  if (!rules.every(isPlain)) return undefined;
  const compiled = rules.map(({ identities, http }) => ({ identities, paths: http === null ? null : compileAll(http) }));
  const found = new Map<number, KernelRules>();
  for (const identity of new Set([ANYBODY, ...rules.flatMap(({ identities }) => identities ?? [])])) {
    const paths: KernelPath[] = [];
    let allowAll = false;
    for (const rule of compiled) {
      if (rule.identities !== null && !rule.identities.includes(identity)) continue;
      if (rule.paths === undefined) return undefined;
      if (rule.paths === null) allowAll = true;
      else paths.push(...rule.paths);
    }
    found.set(identity, { allowAll, paths: allowAll ? [] : paths });
  }
  return found;
}

function isPlain({ parser, kafka, serverNames, terminatingTls, originatingTls }: PeerRule): boolean {
  const secured = (serverNames ?? null) !== null || terminatingTls !== undefined || originatingTls !== undefined;
  return !secured && (parser === undefined || parser === "http") && (kafka ?? null) === null;
}

/** Undefined when one of them is not for the kernel. */
function compileAll(rules: readonly HttpRule[]): readonly KernelPath[] | undefined {
  const compiled = rules.map(compile);
  return compiled.every((paths) => paths !== undefined) ? compiled.flat() : undefined;
}

function compile({ method, path, host, headers, headerMatches }: HttpRule): readonly KernelPath[] | undefined {
  if (host || (headers?.length ?? 0) > 0 || (headerMatches?.length ?? 0) > 0) return undefined;
  const methods = method ? methodsOf(method) : [""];
  const beginnings = path ? alternatives(path)?.map(beginning) : [""];
  if (methods === undefined || beginnings === undefined) return undefined;
  const possible = beginnings.filter((text) => text !== null);
  if (!possible.every((text) => text !== undefined)) return undefined;
  return methods.flatMap((one) => possible.map((text) => ({ method: one, path: text })));
}

function methodsOf(pattern: string): readonly string[] | undefined {
  if (pattern === ".*") return [""];
  const names = alternatives(pattern) ?? [];
  const fit = names.length > 0 && names.every((name) => /^[A-Za-z0-9_-]+$/.test(name) && name.length <= METHOD_MAX);
  return fit ? names : undefined;
}

/** The parts between bars; undefined where bars may mean something else. An anchor would belong to one of them only. */
function alternatives(pattern: string): readonly string[] | undefined {
  if (/[()[\]{}]/.test(pattern)) return undefined;
  if (!pattern.includes("|")) return [pattern.replace(/^\^/, "").replace(/(?<!\\)\$$/, "")];
  return /[\\^$]/.test(pattern) ? undefined : pattern.split("|");
}

/** What a path must begin with; null when no path does; undefined when that is not all there is to say. */
function beginning(pattern: string): string | null | undefined {
  const isPrefix = pattern.endsWith(".*") && !pattern.endsWith("\\.*");
  const text = literal(isPrefix ? pattern.slice(0, -2) : pattern);
  if (text === undefined) return undefined;
  if (text !== "" && !TARGET.test(text)) return null;
  const whole = isPrefix ? text : `${text} `;
  return whole.length <= PATH_MAX ? whole : undefined;
}

/** The text that the expression stands for, if it stands for one. */
function literal(pattern: string): string | undefined {
  const plain = pattern.replace(/\\([!-/:-@[-`{-~])/g, "");
  if (/[\\^$.|?*+()[\]{}]/.test(plain)) return undefined;
  return pattern.replace(/\\(.)/g, "$1");
}
