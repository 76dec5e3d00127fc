/** A client's connection. */
interface Stream {
  /** Questions under way. */
  readonly calls: number;
  close(): void;
}

export interface StreamLimits {
  readonly maxConnections: number;
  readonly connectionsPerClient: number;
}

/** The open connections of all clients. When there are too many, it is the client with the most that loses one, so that none shuts the others out. */
export class ClientStreams<One extends Stream> {
  readonly #limits: StreamLimits;
  readonly #clients = new Map<string, Set<One>>();
  size = 0;

  constructor(limits: StreamLimits) {
    this.#limits = limits;
  }

  /** Makes room first. True when another had to go for it. */
  add(client: string, stream: One): boolean {
    const own = this.#clients.get(client)?.size ?? 0;
    const isFull = own >= this.#limits.connectionsPerClient;
    const loser = isFull ? client : this.size >= this.#limits.maxConnections ? this.#largest() : undefined;
    if (loser !== undefined) this.#closeOne(loser);
    const streams = this.#clients.get(client) ?? new Set();
    this.#clients.set(client, streams.add(stream));
    this.size += 1;
    return loser !== undefined;
  }

  delete(client: string, stream: One): void {
    const streams = this.#clients.get(client);
    if (!streams?.delete(stream)) return;
    this.size -= 1;
    if (streams.size === 0) this.#clients.delete(client);
  }

  *[Symbol.iterator](): Generator<One> {
    for (const streams of this.#clients.values()) yield* streams;
  }

  #largest(): string | undefined {
    let largest: [client: string, size: number] = ["", 0];
    for (const [client, { size }] of this.#clients) if (size > largest[1]) largest = [client, size];
    return largest[1] === 0 ? undefined : largest[0];
  }

  /** The oldest that nothing is under way on, as servers do with idle clients (RFC 7766 §6.2.3); else the oldest. */
  #closeOne(client: string): void {
    const streams = [...(this.#clients.get(client) ?? [])];
    const stream = streams.find(({ calls }) => calls === 0) ?? streams[0];
    if (stream === undefined) return;
    this.delete(client, stream);
    stream.close();
  }
}
