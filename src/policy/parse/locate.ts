/** What this needs of a document parsed by `yaml`: nodes by path, with their ranges. */
export interface YamlDocument {
  getIn(path: readonly (string | number)[], keepScalar: boolean): unknown;
  readonly contents: unknown;
}

/** What this needs of `yaml`'s LineCounter. */
export interface Lines {
  linePos(offset: number): { readonly line: number; readonly col: number };
}

/** `spec.ingress[0].fromCIDR[1]` → its keys and indexes. */
export function pathSegments(path: string): (string | number)[] {
  return [...path.matchAll(/\[(\d+)\]|\["((?:\\.|[^"])*)"\]|([^.[\]]+)/g)].map(([, index, quoted, name]) =>
    index === undefined ? (quoted ?? name ?? "") : Number(index),
  );
}

/**
 * Where an issue's path stands in the author's YAML, both numbers from 1. When the path itself is not there (a field is missing) the
 * nearest thing around it that is.
 */
export function locate(document: YamlDocument, path: string, lines: Lines): { readonly line: number; readonly column: number } | undefined {
  const segments = pathSegments(path);
  for (let length = segments.length; length >= 0; length -= 1) {
    const node = length === 0 ? document.contents : document.getIn(segments.slice(0, length), true);
    const start = rangeStart(node);
    if (start === undefined) continue;
    const { line, col } = lines.linePos(start);
    return { line, column: col };
  }
  return undefined;
}

function rangeStart(node: unknown): number | undefined {
  if (typeof node !== "object" || node === null || !("range" in node)) return undefined;
  const { range } = node;
  return Array.isArray(range) && typeof range[0] === "number" ? range[0] : undefined;
}
