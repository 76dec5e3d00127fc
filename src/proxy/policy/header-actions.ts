import type { HeaderAction, RequestView } from "./http-rule.ts";

/** Headers that actions have changed, by name; undefined: taken away. */
type Changed = Map<string, string | undefined>;

/**
 * What is left to do of the actions, done one after the other as in Envoy: each sees what those before it have left, so that two that agree
 * add one header, and what is added and then deleted is not there.
 */
export function pendingActions(actions: readonly HeaderAction[], request: RequestView): readonly HeaderAction[] {
  const changed: Changed = new Map();
  let pending: HeaderAction[] = [];
  for (const action of actions) {
    if (isMet(action, request, changed)) continue;
    const { name, mismatch } = action;
    if (clears(action)) pending = pending.filter((one) => one.name !== name || one.mismatch === "LOG");
    if (mismatch !== "LOG") changed.set(name, valueAfter(action, request, changed));
    pending.push(action);
  }
  return pending;
}

function isMet(action: HeaderAction, request: RequestView, changed: Changed): boolean {
  const { name, value } = action;
  const found = currentOf(name, request, changed);
  if (value === "" ? found === undefined : found !== value) return false;
  // Beside the right header a lookalike may be the one that the server goes by.
  return !clears(action) || changed.has(name) || !request.hasLookalike(name);
}

function currentOf(name: string, request: RequestView, changed: Changed): string | undefined {
  return changed.has(name) ? changed.get(name) : request.header(name);
}

function valueAfter({ name, value, mismatch }: HeaderAction, request: RequestView, changed: Changed): string | undefined {
  if (mismatch === "DELETE") return undefined;
  const found = mismatch === "ADD" ? currentOf(name, request, changed) : undefined;
  return found === undefined ? value : `${found},${value}`;
}

/** Whether it takes away what has the name. */
function clears({ mismatch }: HeaderAction): boolean {
  return mismatch === "DELETE" || mismatch === "REPLACE";
}
