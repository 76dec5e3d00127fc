/** A question that was sent. */
export interface Sent {
  /** Milliseconds. */
  readonly started: number;
  /** Whether it may still wait in the server's socket. */
  isFresh: boolean;
}

export interface WindowConfig {
  /** Questions sent within `freshMs` that are not answered; more wait. */
  readonly callsPerServer: number;
  readonly freshMs: number;
}

/**
 * What is under way to one server. A burst, as after a restart, would overflow its socket, so only so many go at once. What was sent before a question that is answered, or
 * long ago, the server has read, and is itself waiting for others: that keeps nobody back. Clients have their turns one after the other, however much each has to ask.
 */
export class ServerWindow<Waiting> {
  readonly #send: (waiting: Waiting) => Sent | undefined;
  readonly #now: () => number;
  readonly #config: WindowConfig;
  readonly #waiting = new Map<string, Waiting[]>();
  /** The fresh ones, the oldest first. */
  readonly #sent: Sent[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** `send` gives nothing when it could not. */
  constructor(send: (waiting: Waiting) => Sent | undefined, now: () => number, config: WindowConfig) {
    this.#send = send;
    this.#now = now;
    this.#config = config;
  }

  /** Whether a question may go now: none waits, and the server has read the others. */
  get isOpen(): boolean {
    if (this.#waiting.size > 0) return false;
    if (this.#sent.length >= this.#config.callsPerServer) this.#age();
    return this.#sent.length < this.#config.callsPerServer;
  }

  get isIdle(): boolean {
    return this.#sent.length === 0 && this.#waiting.size === 0;
  }

  note(sent: Sent): void {
    this.#sent.push(sent);
  }

  wait(client: string, waiting: Waiting): void {
    const line = this.#waiting.get(client);
    if (line) line.push(waiting);
    else this.#waiting.set(client, [waiting]);
    this.#timer ??= setTimeout(() => this.#wake(), this.#config.freshMs).unref();
  }

  /** It is answered, or given up: a server reads in the order of arrival, so what was sent before has left its socket, too. */
  over(sent: Sent): void {
    while (sent.isFresh) (this.#sent.shift() ?? sent).isFresh = false;
    if (this.#waiting.size > 0) this.#run();
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #age(): void {
    const time = this.#now() - this.#config.freshMs;
    for (let oldest = this.#sent[0]; oldest && oldest.started <= time; oldest = this.#sent[0]) {
      oldest.isFresh = false;
      this.#sent.shift();
    }
  }

  #wake(): void {
    this.#timer = undefined;
    this.#age();
    this.#run();
    if (this.#waiting.size > 0) this.#timer = setTimeout(() => this.#wake(), this.#config.freshMs).unref();
  }

  #run(): void {
    for (const [client, line] of this.#waiting) {
      if (this.#sent.length >= this.#config.callsPerServer) return;
      const next = line.shift();
      this.#waiting.delete(client);
      // A map goes on with what is added behind: it is a circle.
      if (line.length > 0) this.#waiting.set(client, line);
      const sent = next === undefined ? undefined : this.#send(next);
      if (sent) this.note(sent);
    }
  }
}
