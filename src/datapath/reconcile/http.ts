import { HttpAnswer, HttpRulesFlags } from "#datapath/gen/enums.ts";
import type { HttpAnswerText, HttpPathKey, HttpRules, HttpRulesKey } from "#datapath/gen/structs.ts";
import type { BpfMap } from "#ebpf/bpf.ts";

/** A method (empty: any) and how "path?query " must begin. */
export interface HttpPath {
  readonly method: string;
  readonly path: string;
}

/** What one client (identity 0: whoever has no rules of its own) may ask a port of an endpoint for. */
export interface HttpPortRules {
  readonly endpoint: number;
  readonly port: number;
  readonly identity: number;
  readonly allowAll: boolean;
  readonly paths: readonly HttpPath[];
}

export interface HttpMaps {
  readonly httpRules: BpfMap<HttpRulesKey, HttpRules>;
  readonly httpPaths: BpfMap<HttpPathKey, number>;
  readonly httpAnswers: BpfMap<number, HttpAnswerText>;
}

/** The HTTP rules in the kernel. */
export interface HttpReconciler {
  /**
   * Makes these the rules: what is not among them is the proxy's again. Paths are there before rules name them, and stay until the update after
   * the one that drops them, for requests that are being judged. Throws `KernelError` when a map is full; then there are no rules at all.
   */
  update(wanted: readonly HttpPortRules[]): void;
}

/** Bytes of `http_path_key` that match in full: its set and its method. */
const FIXED_BYTES = 20;
const METHOD_BYTES = 16;
const PATH_BYTES = 232;

/** What an agent before left is replaced by the first update. */
export function createHttpReconciler(maps: HttpMaps): HttpReconciler {
  const keys = new Map<string, HttpRulesKey>();
  const known = new Map<string, string>();
  let sets = new Map<string, number>();
  let retired: HttpPathKey[] = [...maps.httpPaths.keys()];
  let next = 1 + retired.reduce((most, { set }) => Math.max(most, set), 0);
  for (const [key] of maps.httpRules.entries()) keys.set(keyText(key), key);

  const forget = (except: ReadonlySet<string>) => {
    for (const [text, key] of keys) {
      if (except.has(text)) continue;
      maps.httpRules.delete(key);
      keys.delete(text);
      known.delete(text);
    }
  };
  const write = (wanted: readonly HttpPortRules[]) => {
    const present = new Map<string, number>();
    const seen = new Set<string>();
    for (const rules of wanted) {
      const content = JSON.stringify([rules.allowAll, rules.paths]);
      const set = present.get(content) ?? sets.get(content) ?? next++;
      if (!present.has(content) && !sets.has(content)) maps.httpPaths.setMany(rules.paths.map((path) => [pathKey(set, path), 1] as const));
      present.set(content, set);
      const key = { lxcId: rules.endpoint, identity: rules.identity, port: rules.port };
      const text = keyText(key);
      seen.add(text);
      if (known.get(text) !== content) maps.httpRules.set(key, { set, flags: rules.allowAll ? HttpRulesFlags.HTTP_RULES_ALLOW_ALL : 0 });
      known.set(text, content);
      keys.set(text, key);
    }
    forget(seen);
    return present;
  };
  return {
    update(wanted) {
      maps.httpPaths.deleteMany(retired);
      retired = [];
      try {
        const present = write(wanted);
        for (const [content, set] of sets) {
          if (present.has(content)) continue;
          const [, paths] = JSON.parse(content) as [boolean, HttpPath[]];
          retired.push(...paths.map((path) => pathKey(set, path)));
        }
        sets = present;
      } catch (thrown) {
        for (const key of maps.httpRules.keys()) maps.httpRules.delete(key);
        maps.httpPaths.deleteMany([...maps.httpPaths.keys()]);
        known.clear();
        keys.clear();
        sets = new Map();
        throw thrown;
      }
    },
  };
}

function keyText({ lxcId, identity, port }: HttpRulesKey): string {
  return `${lxcId} ${identity} ${port}`;
}

function pathKey(set: number, { method, path }: HttpPath): HttpPathKey {
  const bytes = Buffer.from(path, "latin1");
  return {
    prefixlen: 8 * (FIXED_BYTES + bytes.length),
    set,
    method: filled(Buffer.from(method, "latin1"), METHOD_BYTES),
    path: filled(bytes, PATH_BYTES),
  };
}

function filled(bytes: Buffer, size: number): Uint8Array {
  return Buffer.concat([bytes, Buffer.alloc(size - bytes.length)]);
}

/** What the kernel says, as whole HTTP responses, each in several wordings. Blanks may be put behind the first header's value. */
export type HttpAnswers = Readonly<Record<Exclude<keyof typeof HttpAnswer, "ANSWERS">, readonly string[]>>;

const ANSWER_BYTES = 256;
const WORDINGS = 3;
/** The kernel stores what is before and behind the blanks in pieces of this size. */
const ANSWER_PART_BYTES = 128;

/** Gives the kernel its answers, of each the longest that it can say and shorter ones. */
export function writeHttpAnswers(map: HttpMaps["httpAnswers"], answers: HttpAnswers): void {
  for (const [name, wordings] of Object.entries(answers)) {
    const texts = wordings.map(answerText).filter(({ split, length }) => split <= ANSWER_PART_BYTES && length - split <= ANSWER_PART_BYTES);
    for (const [index, text] of texts
      .sort((a, b) => b.length - a.length)
      .slice(0, WORDINGS)
      .entries())
      map.set(HttpAnswer[name as keyof HttpAnswers] * WORDINGS + index, text);
  }
}

function answerText(text: string): HttpAnswerText {
  const split = text.indexOf("\r\n", text.indexOf("\r\n") + 2);
  const body = text.length - text.indexOf("\r\n\r\n") - 4;
  return {
    split,
    length: text.length,
    body,
    status: Number(text.slice(9, 12)),
    text: filled(Buffer.from(text.slice(0, ANSWER_BYTES), "latin1"), ANSWER_BYTES),
  };
}
