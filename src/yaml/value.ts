import { type Alias, isAlias, isMap, isPair, isScalar, isSeq, type Node, type YAMLMap, type YAMLSeq } from "yaml";

/** Something that keeps a document from being read, and where: an offset in its text. */
export type NodeProblem = { readonly offset: number; readonly message: string };

/** A document's value with all its problems, and which node each alias stands for. */
export type DocumentValue = {
  readonly value: unknown;
  readonly problems: readonly NodeProblem[];
  readonly targets: ReadonlyMap<Alias, Node>;
};

/** Aliases may make this many nodes of few; more is a bomb. Go's yaml.v2 begins to count at the same size. */
const MOST_NODES = 400_000;

/** So many objects and lists may stand in one another. kubectl gives up at 10,000; before that, the stack of whoever walks the value would end. */
const MOST_LEVELS = 200;

/** Whether so many objects and lists in one another are too many to be read. */
export function isTooDeep(levels: number): boolean {
  return levels > MOST_LEVELS;
}

/** What is said of the first object or list that is too deep. */
export function tooDeep(offset: number): NodeProblem {
  return { offset, message: `more than ${MOST_LEVELS} objects and lists stand in one another` };
}

/** What is said of a key that is in an object for the second time. */
export function twiceMessage(key: string): string {
  return `the key "${key}" is there twice: a reader would lose one of the two`;
}

/** Whether a key takes the fields of other objects into its own. */
export function isMergeKey(key: unknown): boolean {
  return isScalar(key) && key.source === "<<" && key.type === "PLAIN" && (key.tag === undefined || key.tag === "tag:yaml.org,2002:merge");
}

/** The text of a key: one without quotes may be a number or true, which are texts in JSON. Undefined where JSON has no such key. */
export function keyText(key: unknown, targets: ReadonlyMap<Alias, Node>): string | undefined {
  const node = isAlias(key) ? targets.get(key) : key;
  if (!isScalar(node) || node.value === null || typeof node.value === "object") return undefined;
  return String(node.value);
}

/** The value of a document, as JSON has it. Keys that are there twice, which a reader would silently lose, are problems. */
export function documentValue(contents: Node | null): DocumentValue {
  const reader = new ValueReader();
  const value = contents === null ? null : reader.value(contents);
  return { value, problems: reader.problems, targets: reader.targets };
}

class ValueReader {
  readonly problems: NodeProblem[] = [];
  readonly targets = new Map<Alias, Node>();
  readonly #anchors = new Map<string, Node>();
  /** What was read; an anchor's node that is not among them is still open. */
  readonly #values = new Map<Node, { readonly value: unknown; readonly nodes: number }>();
  #nodes = 0;

  #refuse(node: unknown, message: string): void {
    const offset = typeof node === "object" && node !== null && "range" in node && Array.isArray(node.range) ? Number(node.range[0]) : 0;
    this.problems.push({ offset, message });
  }

  value(node: unknown): unknown {
    if (isAlias(node)) return this.#aliased(node);
    if (!isMap(node) && !isSeq(node) && !isScalar(node)) return null;
    const before = this.#nodes++;
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    const value = isMap(node) ? this.#object(node) : isSeq(node) ? this.#list(node) : this.#word(node, node.value);
    if (node.anchor !== undefined) this.#values.set(node, { value, nodes: this.#nodes - before });
    return value;
  }

  #word(node: unknown, value: unknown): unknown {
    if (typeof value === "number" && !Number.isFinite(value)) this.#refuse(node, "JSON has no such number");
    return value;
  }

  #aliased(alias: Alias): unknown {
    const node = this.#anchors.get(alias.source);
    if (node === undefined) {
      this.#refuse(alias, `the alias *${alias.source} stands for nothing: there is no &${alias.source} before it in its document`);
      return null;
    }
    const known = this.#values.get(node);
    if (known === undefined) {
      this.#refuse(alias, `the alias *${alias.source} stands inside of what it stands for, without end`);
      return null;
    }
    this.targets.set(alias, node);
    const before = this.#nodes;
    this.#nodes += known.nodes;
    if (before <= MOST_NODES && this.#nodes > MOST_NODES)
      this.#refuse(alias, `aliases make more than ${MOST_NODES} values of this document`);
    return this.#nodes > MOST_NODES ? null : known.value;
  }

  #list({ items }: YAMLSeq): unknown[] {
    // A pair in a list of braces, `[a: b]`, is an object of its own.
    return items.map((item) => {
      if (!isPair(item)) return this.value(item);
      const made = {};
      this.#put(made, item.key, item.value, new Set());
      return made;
    });
  }

  #object({ items }: YAMLMap): object {
    const made = {};
    const keys = new Set<string>();
    for (const { key, value } of items) {
      if (isMergeKey(key)) this.#merge(made, value);
      else this.#put(made, key, value, keys);
    }
    return made;
  }

  #put(made: object, key: unknown, node: unknown, keys: Set<string>): void {
    this.value(key);
    const text = keyText(key, this.targets);
    if (text === undefined) this.#refuse(key ?? node, "a key has to be a text");
    else if (keys.has(text)) this.#refuse(key, twiceMessage(text));
    const value = this.value(node);
    if (text === undefined) return;
    keys.add(text);
    set(made, text, value);
  }

  /** In its place, as kubectl does: what comes later wins, and of several the first. */
  #merge(made: object, node: unknown): void {
    const value = this.value(node);
    const several: unknown[] = Array.isArray(value) ? value.toReversed() : [value];
    for (const one of several) {
      if (typeof one === "object" && one !== null && !Array.isArray(one)) for (const [key, its] of Object.entries(one)) set(made, key, its);
      else this.#refuse(node, "<< takes an object, or a list of objects");
    }
  }
}

/** Sets a field, also one that is called `__proto__`. */
function set(made: object, key: string, value: unknown): void {
  Object.defineProperty(made, key, { value, writable: true, enumerable: true, configurable: true });
}
