import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import type { ParsedPolicy, Rule } from "../rule.ts";

/** Rules by the namespace of their subjects and one more label that these must have, so that only few have to be tried. Persistent. */
export type SubjectIndex = { readonly byAnchor: ReadonlyMap<string, readonly Rule[]> };

/** An index of no rules. */
export const emptySubjects: SubjectIndex = { byAnchor: new Map() };

/** Where a rule stands; either part is empty when the subject names none. */
function anchorOf({ subject }: Rule): string {
  const single = subject.requirements.filter(({ operator, values }) => operator === "In" && values.length === 1);
  const place = single.find(({ key }) => key === labelKey.namespace);
  const anchor = single.find(({ key }) => key !== labelKey.namespace && key !== labelKey.cluster);
  return anchorText(place?.values[0] ?? "", anchor?.key ?? "", anchor?.values[0] ?? "");
}

const anchorText = (namespace: string, key: string, value: string) => (key === "" ? namespace : `${namespace} ${key}=${value}`);

/** The index without some policies and with others. What they do not touch is shared with the old one, which stays valid. */
export function changeSubjects(index: SubjectIndex, removed: readonly ParsedPolicy[], added: readonly ParsedPolicy[]): SubjectIndex {
  const gone = new Set(removed.flatMap(({ rules }) => rules));
  const come = added.flatMap(({ rules }) => rules);
  const news = Map.groupBy(come, anchorOf);
  const byAnchor = new Map(index.byAnchor);
  for (const anchor of new Set([...Array.from(gone, anchorOf), ...news.keys()])) {
    const rules = [...(index.byAnchor.get(anchor) ?? []).filter((rule) => !gone.has(rule)), ...(news.get(anchor) ?? [])];
    if (rules.length > 0) byAnchor.set(anchor, rules);
    else byAnchor.delete(anchor);
  }
  return { byAnchor };
}

/** The rules that may select an endpoint with these labels, each once. */
export function candidateRules({ byAnchor }: SubjectIndex, labels: LabelSet): Rule[] {
  // The same key may have several sources.
  const anchors = new Set<string>();
  for (const namespace of ["", ...labels.of(labelKey.namespace).map(({ value }) => value)]) {
    anchors.add(namespace);
    for (const { key, value } of labels.labels) anchors.add(anchorText(namespace, key, value));
  }
  const found: Rule[] = [];
  for (const anchor of anchors) {
    const rules = byAnchor.get(anchor);
    if (rules !== undefined) found.push(...rules);
  }
  return found;
}
