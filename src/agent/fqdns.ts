import { readFileSync } from "node:fs";
import { type FqdnSelector, fqdnLabelKey } from "#fqdn/pattern.ts";
import { label, labelSource } from "#labels/label.ts";
import { type LabelSet, labelSetOf } from "#labels/label-set.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { writeWhole } from "#runtime/whole-file.ts";
import { NumericIdentity } from "#types/identity.ts";
import type { Identities } from "./identities.ts";

/**
 * The selectors of names in policies: each has an identity of this node from the moment a rule names it, so policy maps know it before any address is
 * learned, and the proxy needs nobody to let an address in.
 */
export interface Fqdns {
  setRules(selectors: readonly FqdnSelector[]): void;
  /** The number that stands for a selector of the present rules. */
  identityOf(selector: FqdnSelector): NumericIdentity | undefined;
  /** Gives the selectors the numbers that they had before a restart: the kernel's learned addresses carry them. */
  restore(): void;
  /** Lets go of those that no rule has asked for since. */
  releaseRestored(): void;
}

type Saved = readonly { readonly labels: LabelSet; readonly selector: FqdnSelector }[];

/** One for each selector; the address's own identity (world, CIDR) is asked beside it, so this has no family. */
function labelsOf(selector: FqdnSelector): LabelSet {
  return labelSetOf([label(fqdnLabelKey(selector), "", labelSource.fqdn), label("world", "", labelSource.reserved)]);
}

export function createFqdns(
  { identities, log }: { readonly identities: Identities; readonly log: Logger },
  { path }: { readonly path: string },
): Fqdns {
  const current = new Map<string, { readonly selector: FqdnSelector; readonly identity: NumericIdentity }>();
  let restored: Saved = [];

  const save = () => {
    const rows = [...current.values()].map(({ selector, identity }) => ({ ...selector, identity }));
    try {
      writeWhole(path, JSON.stringify(rows));
    } catch (thrown) {
      log.error("numbers of names are not saved: after a restart names must be resolved anew", { path, error: errorMessage(thrown) });
    }
  };
  return {
    setRules(selectors) {
      const wanted = new Map(selectors.map((one) => [fqdnLabelKey(one), one]));
      let changed = false;
      for (const [key, selector] of wanted) {
        if (current.has(key)) continue;
        current.set(key, { selector, identity: identities.acquireLocal(labelsOf(selector)) });
        changed = true;
      }
      for (const [key, { selector }] of [...current]) {
        if (wanted.has(key)) continue;
        current.delete(key);
        identities.releaseLocal(labelsOf(selector));
        changed = true;
      }
      if (changed) save();
    },
    identityOf: (selector) => current.get(fqdnLabelKey(selector))?.identity,
    restore() {
      restored = readSaved(path, log).filter(({ labels, identity }) => identities.restoreLocal(identity, labels));
    },
    releaseRestored() {
      for (const { labels } of restored) identities.releaseLocal(labels);
      restored = [];
    },
  };
}

function readSaved(path: string, log: Logger): { selector: FqdnSelector; labels: LabelSet; identity: NumericIdentity }[] {
  try {
    const rows = JSON.parse(readFileSync(path, "utf8")) as (FqdnSelector & { readonly identity: number })[];
    return rows.map((row) => ({ selector: row, labels: labelsOf(row), identity: NumericIdentity(row.identity) }));
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ENOENT")
      log.warn("saved numbers of names cannot be read", { path, error: errorMessage(thrown) });
    return [];
  }
}
