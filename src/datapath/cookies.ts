import type { PolicyRef, RuleRef } from "#policy/rule.ts";

/** The rules behind a verdict of the kernel. A policy without a section is one whose default deny decided. */
export type CookieOrigin = RuleRef | PolicyRef;

/** Numbers for sets of rules, so that 32 bits in the kernel name them. 0 is nobody. */
export interface Cookies {
  /** The number of these rules, always the same for the same rules: a hash, so that it outlives restarts. */
  of(origins: readonly CookieOrigin[]): number;
  /** What a number stands for; empty when we never gave it. */
  origins(cookie: number): readonly CookieOrigin[];
}

export function createCookies(): Cookies {
  const byText = new Map<string, number>();
  const byNumber = new Map<number, { readonly text: string; readonly origins: readonly CookieOrigin[] }>();
  return {
    of(origins) {
      if (origins.length === 0) return 0;
      const text = origins.map(originText).sort().join("\n");
      const known = byText.get(text);
      if (known !== undefined) return known;
      let cookie = hash(text) || 1;
      while (byNumber.has(cookie)) cookie = (cookie + 1) >>> 0 || 1;
      byText.set(text, cookie);
      byNumber.set(cookie, { text, origins });
      return cookie;
    },
    origins: (cookie) => byNumber.get(cookie)?.origins ?? [],
  };
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
