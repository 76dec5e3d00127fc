import type { Direction } from "#types/direction.ts";
import { type Connection, judge, type Side } from "./connection.ts";
import { memorySource } from "./objects.ts";
import { findSame } from "./party.ts";
import { createWorld, type World } from "./world.ts";

/** A world that is tried, with the connection's ends as they are in it. */
export type After = { readonly world: World; readonly connection: Connection };

/** The world with policies added or replaced, and the connection's ends as they are in it; undefined when the engine refuses one. */
export function withObjects(world: World, connection: Connection, objects: readonly object[]): After | undefined {
  const next = createWorld([...world.objects, ...objects.map((object) => ({ object, source: memorySource("proposed") }))], world.settings);
  const tried = next.policies.filter(({ from }) => objects.some((object) => object === from.object));
  if (tried.length < objects.length || tried.some(({ parsed }) => parsed.issues.length > 0)) return undefined;
  return { world: next, connection: { ...connection, from: findSame(next, connection.from), to: findSame(next, connection.to) } };
}

/** What one end says in the world that is tried. */
export function sideAfter({ world, connection }: After, direction: Direction): Side | undefined {
  return judge(world, connection)[direction];
}

/** `Kind namespace/name`. */
export function titleOf(object: object): string {
  const { kind, metadata } = object as { kind?: string; metadata?: { name?: string; namespace?: string } };
  return `${kind} ${metadata?.namespace === undefined ? "" : `${metadata.namespace}/`}${metadata?.name}`;
}
