import type { Place } from "#yaml/documents.ts";
import { policyKey } from "../rule.ts";
import { formatPlace, identityOf, rulePath } from "../world/objects.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";

/** The path in its object that a finding is about; empty for the whole. */
export function pathOf(world: World, { path, rule, policy }: Finding): string {
  const object = world.policy(policyKey(policy))?.from.object;
  return path ?? (rule === undefined ? "" : rulePath(object, rule));
}

/** Where a finding stands, in words and as numbers. */
export function placeOf(
  world: World,
  finding: Finding,
): { readonly file: string; readonly text: string; readonly place: Place | undefined } {
  const key = policyKey(finding.policy);
  // What no kind of policy is (L00 of a misspelt kind) is among the objects only.
  const source = (world.policy(key)?.from ?? world.objects.find(({ object }) => policyKey(identityOf(object)) === key))?.source;
  const path = pathOf(world, finding);
  if (source === undefined) return { file: "", text: path, place: undefined };
  return { file: source.name, text: formatPlace(source, path), place: source.locate(path) };
}
