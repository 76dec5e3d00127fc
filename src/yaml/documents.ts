import { jsonTexts } from "./json.ts";
import { offsetOf } from "./locate.ts";
import { parseYaml } from "./parse.ts";
import { ofYaml11 } from "./strict.ts";
import { documentValue, type NodeProblem } from "./value.ts";

/** A place in a text, both numbers from 1. */
export type Place = { readonly line: number; readonly column: number };

/** Why a document can not be read, and where. */
export type TextProblem = { readonly message: string; readonly place: Place };

/** One document of a text. With problems its value is what could be made of it. */
export type TextDocument = {
  readonly value: unknown;
  readonly problems: readonly TextProblem[];
  /** Where a path of the value (`spec.ingress[0]`) stands; where it is not there, the nearest thing around it that is. */
  locate(path: string): Place | undefined;
};

/**
 * The documents of a text of YAML or JSON, read as kubectl reads a file: YAML 1.1 (`yes` is true, `0120` is 80), documents between lines of `---`,
 * or JSON objects one after the other. Empty documents are left out. Never throws. Stricter than kubectl in one thing: a key that is in an object
 * twice is a problem, not silently lost.
 */
export function readDocuments(text: string): TextDocument[] {
  const lines = linesOf(text);
  return partsOf(text).flatMap((part) => documentsOf(part, lines));
}

/** A piece of the text between separators, and where it begins. */
type Part = { readonly text: string; readonly start: number; readonly problems: readonly NodeProblem[] };

const separator = /^---.*$/gm;
const byteOrderMark = "\uFEFF";

function partsOf(text: string): Part[] {
  const parts: Part[] = [];
  let [start, problems] = [0, [] as NodeProblem[]];
  const end = (at: number) => {
    const from = text.startsWith(byteOrderMark, start) ? start + 1 : start;
    parts.push({ text: text.slice(from, at), start: from, problems });
  };
  for (const { 0: line, index } of text.matchAll(separator)) {
    end(index);
    start = index + line.length;
    const wrong = !/^---\s*(?:#.*)?$/.test(line);
    problems = wrong
      ? [{ offset: 0, message: `kubectl reads nothing but a comment behind "---": write what follows on a line of its own` }]
      : [];
  }
  end(text.length);
  return parts;
}

/** Where the lines of a text begin, so that a place can be told of an offset. */
function linesOf(text: string): (offset: number) => Place {
  let starts: readonly number[] | undefined;
  return (offset) => {
    starts ??= [0, ...[...text.matchAll(/\r\n|\n|\r/g)].map(({ 0: end, index }) => index + end.length)];
    let [low, high] = [0, starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 };
  };
}

function documentsOf(part: Part, lines: (offset: number) => Place): TextDocument[] {
  const placed = ({ offset, message }: NodeProblem): TextProblem => ({ message, place: lines(part.start + offset) });
  const fromJson = part.problems.length === 0 && /^\s*\{/.test(part.text) ? jsonDocuments(part, lines) : undefined;
  if (fromJson !== undefined) return fromJson;
  // Old YAML ends lines at carriage returns too.
  const read = readYaml(part.text.replace(/\r(?!\n)/g, "\n"));
  const problems = [...part.problems, ...read.problems].map(placed);
  if (read.value === null && problems.length === 0) return [];
  return [{ value: read.value, problems, locate: (path) => placeIn(read, part.start, path, lines) }];
}

type Read = { readonly value: unknown; readonly problems: readonly NodeProblem[]; offsetOf(path: string): number | undefined };

function placeIn(read: Read, start: number, path: string, lines: (offset: number) => Place): Place | undefined {
  const offset = read.offsetOf(path);
  return offset === undefined ? undefined : lines(start + offset);
}

/** JSON is read by a parser that is many times faster; what it refuses may still be YAML. Places are found by reading it again, when asked for. */
function jsonDocuments({ text, start: from }: Part, lines: (offset: number) => Place): TextDocument[] | undefined {
  try {
    return jsonTexts(text)?.map(({ start, end, problems, tooDeep }): TextDocument => {
      const own = text.slice(start, end);
      let read: Read | undefined;
      return {
        value: tooDeep ? null : JSON.parse(own),
        problems: problems.map(({ message, offset }) => ({ message, place: lines(from + offset) })),
        locate(path) {
          read ??= readYaml(own);
          return placeIn(read, from + start, path, lines);
        },
      };
    });
  } catch {
    return undefined;
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what YAML does not allow
const unprintable = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u0084\u0086-\u009F\uFFFE\uFFFF]/;
const endOfDocument = /^\.\.\.[ \t]*(?:#.*)?$/m;

function readYaml(text: string): Read {
  const sign = unprintable.exec(text);
  if (sign !== null) {
    const code = sign[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    return unread({ offset: sign.index, message: `a control character, U+${code}, is not allowed in YAML` });
  }
  const ending = endOfDocument.exec(text);
  const behind = ending === null ? "" : text.slice(ending.index + ending[0].length);
  if (ending !== null && /^[ \t]*[^\s#]/m.test(behind))
    return unread({ offset: ending.index, message: 'kubectl reads nothing of what follows "...": begin a document with "---"' });
  const { document, problems: syntax } = parseYaml(text);
  if (document === undefined) return unread(...syntax);
  const { contents } = document;
  const { value, problems, targets } = documentValue(contents);
  return {
    value,
    problems: firstOfEachPlace([...syntax, ...problems, ...ofYaml11(document, text)]),
    offsetOf: (path) => offsetOf(contents, path, targets),
  };
}

function unread(...problems: readonly NodeProblem[]): Read {
  return { value: null, problems, offsetOf: () => undefined };
}

/** Two readers may stumble over one sign. */
function firstOfEachPlace(problems: readonly NodeProblem[]): NodeProblem[] {
  const places = new Set<number>();
  return problems.filter(({ offset }) => !places.has(offset) && places.add(offset));
}
