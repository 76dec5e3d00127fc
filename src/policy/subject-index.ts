import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import type { ParsedPolicy, Rule } from "./rule.ts";

/** Rules by one label that their subjects must have, so that only few have to be tried. Persistent. */
export type SubjectIndex = { readonly byLabel: ReadonlyMap<string, readonly Rule[]>; readonly others: readonly Rule[] };

/** An index of no rules. */
export const emptySubjects: SubjectIndex = { byLabel: new Map(), others: [] };

/** The label under which a rule stands; undefined when no single one is needed. */
function anchorOf({ subject }: Rule): string | undefined {
  const anchor = subject.requirements.find(
    ({ operator, values, key }) => operator === "In" && values.length === 1 && key !== labelKey.cluster,
  );
  return anchor === undefined ? undefined : `${anchor.key}=${anchor.values[0]}`;
}

/** The index without some policies and with others. What they do not touch is shared with the old one, which stays valid. */
export function changeSubjects(index: SubjectIndex, removed: readonly ParsedPolicy[], added: readonly ParsedPolicy[]): SubjectIndex {
  const gone = new Set(removed.flatMap(({ rules }) => rules));
  const come = added.flatMap(({ rules }) => rules);
  const byAnchor = Map.groupBy(come, anchorOf);
  const anchors = new Set([...Array.from(gone, anchorOf), ...byAnchor.keys()]);
  const merged = (old: readonly Rule[], anchor: string | undefined) => [
    ...old.filter((rule) => !gone.has(rule)),
    ...(byAnchor.get(anchor) ?? []),
  ];
  const byLabel = new Map(index.byLabel);
  for (const anchor of anchors) {
    if (anchor === undefined) continue;
    const rules = merged(index.byLabel.get(anchor) ?? [], anchor);
    if (rules.length > 0) byLabel.set(anchor, rules);
    else byLabel.delete(anchor);
  }
  return { byLabel, others: anchors.has(undefined) ? merged(index.others, undefined) : index.others };
}

/** The rules that may select an endpoint with these labels, each once. */
export function candidateRules({ byLabel, others }: SubjectIndex, labels: LabelSet): Rule[] {
  const found = [...others];
  const seen = new Set<string>();
  for (const { key, value } of labels.labels) {
    const anchor = `${key}=${value}`;
    // The same key may have several sources.
    if (seen.has(anchor)) continue;
    seen.add(anchor);
    const rules = byLabel.get(anchor);
    if (rules !== undefined) found.push(...rules);
  }
  return found;
}
