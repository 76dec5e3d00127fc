import { isItself, type Party } from "../world/party.ts";
import type { World } from "../world/world.ts";
import { isPair, partiesOf } from "./parties.ts";
import { protocolsOf, reachesOf } from "./reach.ts";
import { formatReach, type Reach } from "./span.ts";

/** How much one may send to another: everything, some ports, only through a proxy's rules, or nothing. */
export type CellKind = "all" | "ports" | "l7" | "none";

/** What one may send to another. */
export type Cell = { readonly kind: CellKind; readonly text: string; readonly reach: Reach };

/** Who may send what to whom: `cells[i][j]` from `parties[i]` to `parties[j]`. Undefined between two that no policy of ours stands between. */
export type Matrix = { readonly parties: readonly Party[]; readonly cells: readonly (readonly (Cell | undefined)[])[] };

/** The matrix of a world: everybody whom its policies tell apart. Pairs that are not `wanted` are left undefined, and cost nothing. */
export function matrixOf(world: World, wanted: (from: Party, to: Party) => boolean = () => true): Matrix {
  const protocols = protocolsOf(world);
  const reaches = reachesOf(world, protocols);
  const parties = partiesOf(world);
  const known = new Map<Reach, Cell>();
  const cellOf = (from: Party, to: Party): Cell | undefined => {
    if (!isPair(world, from, to) || !wanted(from, to)) return undefined;
    const reach = reaches.between(from, to);
    if (isItself(from, to)) return { kind: "all", text: `${formatReach(reach, protocols)}: it does not leave the pod`, reach };
    const cell = known.get(reach) ?? { kind: kindOf(reach, protocols), text: formatReach(reach, protocols), reach };
    known.set(reach, cell);
    return cell;
  };
  return { parties, cells: parties.map((from) => parties.map((to) => cellOf(from, to))) };
}

function kindOf(reach: Reach, protocols: readonly number[]): CellKind {
  if (reach.length === 0) return "none";
  if (formatReach(reach, protocols) === "everything") return "all";
  return reach.every(({ l7 }) => l7 !== "") ? "l7" : "ports";
}
