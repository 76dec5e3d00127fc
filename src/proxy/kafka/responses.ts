import { API } from "./api.ts";
import { KafkaFrames } from "./frames.ts";
import type { KafkaRequest } from "./request.ts";
import { limitVersions } from "./versions.ts";

/** Lists of API versions are held and changed; everything else streams through. */
const MAX_VERSIONS = 64 * 1024;
const MAX_RESPONSE = 0x7fffffff;

type Waiting = { readonly request: KafkaRequest } | { readonly answer: Buffer };

/** Brings the broker's responses and our own answers into the order of the requests, as Kafka demands. */
export class Responses {
  readonly #send: (bytes: Buffer) => void;
  readonly #frames = new KafkaFrames(MAX_RESPONSE);
  readonly #waiting: Waiting[] = [];
  /** Bytes of the present response still to come. */
  #left = 0;

  constructor(send: (bytes: Buffer) => void) {
    this.#send = send;
  }

  /** Requests that have no whole answer yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** The broker will answer this one. */
  expect(request: KafkaRequest): void {
    this.#waiting.push({ request });
  }

  /** Our own answer, sent when those before it are through. */
  answer(message: Buffer): void {
    this.#waiting.push({ answer: message });
    this.#flush();
  }

  /** Takes what the broker sent; false when it is nothing that was asked for. */
  pass(chunk: Buffer): boolean {
    this.#frames.add(chunk);
    while (this.#frames.length > 0) {
      if (this.#left === 0 && !this.#begin()) return this.#frames.length < 4 || this.#mayGrow();
      if (this.#left > 0) {
        const bytes = this.#frames.take(this.#left);
        this.#left -= bytes.length;
        this.#send(bytes);
      }
      if (this.#left === 0) this.#finish();
    }
    return true;
  }

  /** Gives away what is held back. */
  release(): Buffer {
    return this.#frames.take(this.#frames.length);
  }

  /** Starts on the next response; false when there is not enough of it, or nobody asked for it. */
  #begin(): boolean {
    const size = this.#frames.nextSize;
    const head = this.#waiting[0];
    if (size === undefined || size === null || size < 8 || head === undefined || !("request" in head)) return false;
    if (head.request.apiKey !== API.apiVersions) {
      if (this.#frames.length < 8) return false;
      this.#left = size;
      return true;
    }
    if (size > MAX_VERSIONS || this.#frames.length < size) return false;
    const response = Buffer.from(this.#frames.take(size));
    if (!limitVersions(response, head.request.apiVersion)) return false;
    this.#send(response);
    return true;
  }

  /** The held bytes may still become the response that is waited for. */
  #mayGrow(): boolean {
    const size = this.#frames.nextSize;
    const head = this.#waiting[0];
    if (typeof size !== "number" || size < 8 || head === undefined || !("request" in head)) return false;
    return this.#frames.length < size && (head.request.apiKey !== API.apiVersions || size <= MAX_VERSIONS);
  }

  #finish(): void {
    this.#waiting.shift();
    this.#flush();
  }

  #flush(): void {
    for (let head = this.#waiting[0]; head !== undefined && "answer" in head; head = this.#waiting[0]) {
      this.#waiting.shift();
      this.#send(head.answer);
    }
  }
}
