import { FIRST_WINDOW, MAX_WINDOW } from "./frame.ts";

/**
 * How many bytes of bodies the client takes on the whole connection. What it grants is told to the server, less what our own answers have used: the server
 * must never believe in more than there is, or the client would break off the connection.
 */
export class ClientWindow {
  /** What the client still takes. */
  #real = FIRST_WINDOW;
  /** What the server believes that it takes. */
  #believed = FIRST_WINDOW;

  get left(): number {
    return this.#real;
  }

  /** A server begins with what the protocol says. */
  begin(): void {
    this.#believed = FIRST_WINDOW;
  }

  /** False: that is more than a window can be. */
  grant(bytes: number): boolean {
    this.#real += bytes;
    return this.#real <= MAX_WINDOW;
  }

  /** What the server is to be told now. */
  tell(): number {
    const more = Math.max(0, this.#real - this.#believed);
    this.#believed += more;
    return more;
  }

  /** We have sent a body ourselves. */
  use(bytes: number): void {
    this.#real -= bytes;
  }

  /** Whether a body of the server's must wait because we have used what it counts on. */
  mustWait(bytes: number): boolean {
    return bytes > this.#real && this.#believed > this.#real;
  }

  /** It was passed on. */
  pass(bytes: number): void {
    this.#real -= bytes;
    this.#believed -= bytes;
  }
}
