/** Rules by how the paths that they allow begin, so that asking many costs little more than asking one. */
export interface RuleIndex<Rule> {
  /** Those that may allow the path, in their order; all others do not. */
  candidates(path: string): readonly Rule[];
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
  if (byPrefix.size <= 1) return { candidates: () => rules };
  const lengths = [...new Set([...byPrefix.keys()].map(({ length }) => length))];
  return {
    candidates(path) {
      const found = lengths.flatMap((length) => (length > path.length ? [] : (byPrefix.get(path.slice(0, length)) ?? [])));
      return found.sort((a, b) => a - b).map((at) => rules[at] as Rule);
    },
  };
}
