interface Node<K, V> {
  readonly key: K;
  value: V;
  older: Node<K, V> | undefined;
  newer: Node<K, V> | undefined;
}

/**
 * A map that knows which of its entries was set least recently. A `Map` knows it too, but walks over all that was deleted before to find it, which takes longer the more
 * there is.
 */
export class AgedMap<K, V> {
  readonly #nodes = new Map<K, Node<K, V>>();
  #oldest: Node<K, V> | undefined;
  #newest: Node<K, V> | undefined;

  get size(): number {
    return this.#nodes.size;
  }

  has(key: K): boolean {
    return this.#nodes.has(key);
  }

  get(key: K): V | undefined {
    return this.#nodes.get(key)?.value;
  }

  /** Makes it the most recent. */
  set(key: K, value: V): void {
    const found = this.#nodes.get(key);
    const node = found ?? { key, value, older: undefined, newer: undefined };
    if (found === undefined) this.#nodes.set(key, node);
    else this.#unlink(found);
    node.value = value;
    [node.older, node.newer] = [this.#newest, undefined];
    if (this.#newest) this.#newest.newer = node;
    else this.#oldest = node;
    this.#newest = node;
  }

  delete(key: K): boolean {
    const node = this.#nodes.get(key);
    if (node === undefined) return false;
    this.#unlink(node);
    return this.#nodes.delete(key);
  }

  oldest(): readonly [key: K, value: V] | undefined {
    return this.#oldest && [this.#oldest.key, this.#oldest.value];
  }

  /** In no order; entries may come and go meanwhile. */
  keys(): Iterator<K> & Iterable<K> {
    return this.#nodes.keys();
  }

  /** In no order; entries may come and go meanwhile. */
  *values(): Generator<V> {
    for (const { value } of this.#nodes.values()) yield value;
  }

  /** In no order; entries may come and go meanwhile. */
  *[Symbol.iterator](): Generator<readonly [key: K, value: V]> {
    for (const { key, value } of this.#nodes.values()) yield [key, value];
  }

  #unlink(node: Node<K, V>): void {
    if (node.older) node.older.newer = node.newer;
    else this.#oldest = node.newer;
    if (node.newer) node.newer.older = node.older;
    else this.#newest = node.older;
  }
}
