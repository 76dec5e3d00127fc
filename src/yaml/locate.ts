import { type Alias, isAlias, isMap, isSeq, type Node } from "yaml";
import { isMergeKey, keyText } from "./value.ts";

/** `spec.ingress[0].fromCIDR[1]` → its keys and indexes. */
export function pathSegments(path: string): (string | number)[] {
  return [...path.matchAll(/\[(\d+)\]|\["((?:\\.|[^"])*)"\]|([^.[\]]+)/g)].map(([, index, quoted, name]) =>
    index === undefined ? (quoted ?? name ?? "") : Number(index),
  );
}

/** What a document's aliases stand for. */
type Targets = ReadonlyMap<Alias, Node>;

/** The offset of what stands at a path, or of the nearest thing around it that is there. Follows aliases and merged objects. */
export function offsetOf(contents: unknown, path: string, targets: Targets): number | undefined {
  let [node, offset] = [contents, rangeStart(contents)];
  for (const segment of pathSegments(path)) {
    node = child(resolved(node, targets), String(segment), targets);
    if (node === undefined) break;
    offset = rangeStart(node) ?? offset;
  }
  return offset;
}

function resolved(node: unknown, targets: Targets): unknown {
  return isAlias(node) ? targets.get(node) : node;
}

function child(node: unknown, segment: string, targets: Targets): unknown {
  if (isSeq(node)) return node.items[Number(segment)];
  if (!isMap(node)) return undefined;
  // As the value has it: what comes later wins.
  for (const { key, value } of node.items.toReversed()) {
    const found = isMergeKey(key)
      ? merged(resolved(value, targets), segment, targets)
      : keyText(key, targets) === segment
        ? value
        : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

function merged(node: unknown, segment: string, targets: Targets): unknown {
  if (!isSeq(node)) return child(node, segment, targets);
  return node.items.map((item) => child(resolved(item, targets), segment, targets)).find((one) => one !== undefined);
}

function rangeStart(node: unknown): number | undefined {
  if (typeof node !== "object" || node === null || !("range" in node)) return undefined;
  const { range } = node;
  return Array.isArray(range) && typeof range[0] === "number" ? range[0] : undefined;
}
