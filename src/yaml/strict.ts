import { type Document, isCollection, isNode, isScalar, visit } from "yaml";
import type { NodeProblem } from "./value.ts";

/** A tab where only spaces may be: before what a line begins with, or behind the dash of a list. */
const tabInIndentation = /^(?: |[-?](?=[ \t]))*\t/gm;

/** What YAML 1.2 allows and the 1.1 that kubectl reads does not: tabs in indentation, also of empty lines, and a slash behind a backslash. */
export function ofYaml11(document: Document, text: string): NodeProblem[] {
  return [...tabs(document, text), ...slashes(document, text)];
}

function tabs(document: Document, text: string): NodeProblem[] {
  const found = text.includes("\t") ? [...text.matchAll(tabInIndentation)].map(({ 0: start, index }) => index + start.length - 1) : [];
  if (found.length === 0) return [];
  const free: (readonly [number, number])[] = [];
  visit(document, (_key, node) => {
    if (isNode(node) && node.range && (isScalar(node) || (isCollection(node) && node.flow === true)))
      free.push([node.range[0], node.range[1]]);
  });
  return found
    .filter((offset) => !free.some(([start, end]) => start < offset && offset < end))
    .map((offset) => ({ offset, message: "a tab stands where YAML allows only spaces" }));
}

function slashes(document: Document, text: string): NodeProblem[] {
  const problems: NodeProblem[] = [];
  if (!text.includes("\\/")) return problems;
  visit(document, {
    Scalar(_key, { type, range }) {
      if (type !== "QUOTE_DOUBLE" || !range) return;
      const before = /^(?:[^\\]|\\[^/])*?(?=\\\/)/.exec(text.slice(range[0], range[1]));
      if (before === null) return;
      problems.push({
        offset: range[0] + before[0].length,
        message: 'in double quotes YAML has no "\\/": write "/", or use single quotes',
      });
    },
  });
  return problems;
}
