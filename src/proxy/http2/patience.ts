/** What a client may do that is of no use to anybody: so often at once, and so often a second for ever. */
const [BURST, PER_SECOND] = [1000, 33];

/**
 * Bounds on what costs a client nothing and us something: requests taken back before their answer (CVE-2023-44487), frames that say nothing. Every
 * answer to a request allows one more, so that who does real work may also change its mind.
 */
export class Patience {
  readonly #now: () => number;
  #left = BURST;
  #at: number;

  /** `now`: milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
    this.#at = now();
  }

  /** False when it has come to its end. */
  spend(): boolean {
    const now = this.#now();
    this.#left = Math.min(BURST, this.#left + ((now - this.#at) * PER_SECOND) / 1000) - 1;
    this.#at = now;
    return this.#left >= 0;
  }

  earn(): void {
    if (this.#left < BURST) this.#left++;
  }
}
