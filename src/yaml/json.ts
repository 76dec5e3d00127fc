import { isTooDeep, type NodeProblem, tooDeep, twiceMessage } from "./value.ts";

/** One JSON object of a text, from `start` to before `end`, and what is wrong with it: keys that are in an object twice. The rest of a text when it is too deep. */
export type JsonText = {
  readonly start: number;
  readonly end: number;
  readonly problems: readonly NodeProblem[];
  readonly tooDeep: boolean;
};

const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gy;
const space = /\s*/y;

/** The JSON objects that a text is made of, one after the other; undefined when it looks like something else. What is in them has not been checked. */
export function jsonTexts(text: string): JsonText[] | undefined {
  const found: JsonText[] = [];
  for (let at = skip(text, 0); at < text.length; at = skip(text, at)) {
    const one = text[at] === "{" ? jsonText(text, at) : undefined;
    if (one === undefined) return undefined;
    found.push(one);
    at = one.end;
  }
  return found;
}

function skip(text: string, at: number): number {
  space.lastIndex = at;
  space.test(text);
  return space.lastIndex;
}

/** The objects and lists that are open at a place of a JSON text, and what is wrong so far. */
class OpenBraces {
  readonly problems: NodeProblem[] = [];
  /** The keys of an object so far; null for a list. */
  readonly #open: (Set<string> | null)[] = [];
  #mayBeKey = false;

  get levels(): number {
    return this.#open.length;
  }

  take(word: string, offset: number): void {
    if (word === "{" || word === "[") this.#open.push(word === "{" ? new Set() : null);
    else if (word === "}" || word === "]") this.#open.pop();
    else if (this.#mayBeKey && word.startsWith('"')) this.#key(unquoted(word), offset);
    this.#mayBeKey = word === "{" || word === ",";
  }

  #key(key: string, offset: number): void {
    const keys = this.#open.at(-1);
    if (keys?.has(key) === true) this.problems.push({ message: twiceMessage(key), offset });
    keys?.add(key);
  }
}

function jsonText(text: string, start: number): JsonText | undefined {
  const braces = new OpenBraces();
  token.lastIndex = start;
  for (;;) {
    token.lastIndex = skip(text, token.lastIndex);
    const offset = token.lastIndex;
    const word = token.exec(text)?.[0];
    if (word === undefined) return undefined;
    braces.take(word, offset);
    if (isTooDeep(braces.levels)) return { start, end: text.length, problems: [tooDeep(offset)], tooDeep: true };
    if (braces.levels === 0) return { start, end: token.lastIndex, problems: braces.problems, tooDeep: false };
  }
}

function unquoted(word: string): string {
  try {
    return word.includes("\\") ? String(JSON.parse(word)) : word.slice(1, -1);
  } catch {
    return word;
  }
}
