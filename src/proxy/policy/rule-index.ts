/** Rules by how the paths that they allow begin, so that asking many costs little more than asking one. */
export interface RuleIndex<Rule> {
  /** Those that may allow the path, in their order; all others do not. */
  candidates(path: string): readonly Rule[];
  /** The first of them that passes `test`. */
  first(path: string, test: (rule: Rule) => boolean): Rule | undefined;
}

/** `prefixOf`: how every path begins that the rule allows. */
export function indexRules<Rule>(rules: readonly Rule[], prefixOf: (rule: Rule) => string): RuleIndex<Rule> {
  const byPrefix = new Map<string, number[]>();
  for (const [at, rule] of rules.entries()) {
    const prefix = prefixOf(rule);
    const same = byPrefix.get(prefix);
    if (same === undefined) byPrefix.set(prefix, [at]);
    else same.push(at);
  }
  if (byPrefix.size <= 1) return { candidates: () => rules, first: (_path, test) => rules.find(test) };
  const lengths = [...new Set([...byPrefix.keys()].map(({ length }) => length))];
  return {
    candidates(path) {
      const found = lengths.flatMap((length) => (length > path.length ? [] : (byPrefix.get(path.slice(0, length)) ?? [])));
      return found.sort((a, b) => a - b).map((at) => rules[at] as Rule);
    },
    first(path, test) {
      let best = rules.length;
      for (const length of lengths) {
        const same = length > path.length ? undefined : byPrefix.get(path.slice(0, length));
        best = Math.min(best, same?.find((at) => at >= best || test(rules[at] as Rule)) ?? best);
      }
      return rules[best];
    },
  };
}
