import type { PolicyRef, RuleRef } from "#policy/rule.ts";

/** The rules behind a verdict of the kernel. A policy without a section is one whose default deny decided. */
export type CookieOrigin = RuleRef | PolicyRef;

/** Numbers for sets of rules, so that 32 bits in the kernel name them. 0 is nobody. */
export interface Cookies {
  readonly size: number;
  /** The number of these rules, always the same for the same rules: a hash, so that it outlives restarts. */
  of(origins: readonly CookieOrigin[]): number;
  /** What a number stands for; empty when we never gave it. */
  origins(cookie: number): readonly CookieOrigin[];
  all(): Iterable<readonly [cookie: number, origins: readonly CookieOrigin[]]>;
  /** Numbers that an agent before this one gave, before any is given: two sets of rules may have one hash, and then the order decided. */
  restore(saved: Iterable<readonly [cookie: number, origins: readonly CookieOrigin[]]>): void;
  /**
   * Forgets the numbers that nobody uses and nobody has used for `graceMs`: events that name them may still be on their way.
   * `now` is any clock's milliseconds.
   */
  collect(isUsed: (cookie: number) => boolean, now: number, graceMs: number): void;
}

interface Known {
  readonly text: string;
  readonly origins: readonly CookieOrigin[];
  /** When it was first found unused. */
  unusedSince: number | undefined;
}

export function createCookies(): Cookies {
  const byText = new Map<string, number>();
  const byNumber = new Map<number, Known>();
  const give = (cookie: number, text: string, origins: readonly CookieOrigin[]) => {
    byText.set(text, cookie);
    byNumber.set(cookie, { text, origins, unusedSince: undefined });
  };
  return {
    get size() {
      return byNumber.size;
    },
    of(origins) {
      if (origins.length === 0) return 0;
      const text = textOf(origins);
      const known = byText.get(text);
      if (known !== undefined) {
        const item = byNumber.get(known);
        if (item) item.unusedSince = undefined;
        return known;
      }
      let cookie = hash(text) || 1;
      while (byNumber.has(cookie)) cookie = (cookie + 1) >>> 0 || 1;
      give(cookie, text, origins);
      return cookie;
    },
    restore(saved) {
      for (const [cookie, origins] of saved) give(cookie, textOf(origins), origins);
    },
    origins: (cookie) => byNumber.get(cookie)?.origins ?? [],
    *all() {
      for (const [cookie, { origins }] of byNumber) yield [cookie, origins];
    },
    collect(isUsed, now, graceMs) {
      for (const [cookie, item] of byNumber) {
        if (isUsed(cookie)) item.unusedSince = undefined;
        else item.unusedSince ??= now;
        if (item.unusedSince === undefined || now - item.unusedSince < graceMs) continue;
        byNumber.delete(cookie);
        byText.delete(item.text);
      }
    },
  };
}

function textOf(origins: readonly CookieOrigin[]): string {
  return origins.map(originText).sort().join("\n");
}

function originText(origin: CookieOrigin): string {
  const rule = "section" in origin ? `${origin.spec} ${origin.section} ${origin.index}` : "default";
  return `${origin.kind}/${origin.namespace}/${origin.name} ${rule}`;
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}
