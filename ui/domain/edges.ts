import { CARD, type PlacedCard } from "./card-size.ts";
import type { MapEdge } from "./service-map.ts";

export interface PlacedEdge {
  readonly edge: MapEdge;
  /** An SVG path from the source's right side to the destination's port. */
  readonly path: string;
}

const PITCH = CARD.width + CARD.gapX;
/** Lines through one gap lie this far apart, and so many beside each other before they share a place. */
const LANE = 4;
const LANES = 5;

/** The gaps of a column that lines can pass, by the y of their middle, and how many do. */
type Gaps = { readonly y: number; passing: number }[];

/** Lines from callers to ports. What passes a column goes between its cards, not under them. */
export function drawEdges(edges: readonly MapEdge[], cards: ReadonlyMap<string, PlacedCard>): PlacedEdge[] {
  const columns = Map.groupBy([...cards.values()], ({ x }) => Math.round(x / PITCH));
  const gaps = new Map([...columns].map(([index, column]) => [index, gapsOf(column)]));
  return edges.flatMap((edge) => drawEdge(edge, cards, gaps));
}

function gapsOf(column: readonly PlacedCard[]): Gaps {
  const bottoms = column.map(({ y, height }) => y + height + CARD.gapY / 2);
  return [-CARD.gapY / 2, ...bottoms].map((y) => ({ y, passing: 0 }));
}

function drawEdge(edge: MapEdge, cards: ReadonlyMap<string, PlacedCard>, gaps: ReadonlyMap<number, Gaps>): PlacedEdge[] {
  const [from, to] = [cards.get(edge.source), cards.get(edge.destination)];
  if (from === undefined || to === undefined) return [];
  const [x1, y1] = [from.x + CARD.width, from.y + CARD.header / 2];
  const [x2, y2] = [to.x, to.y + (to.portY.get(edge.port) ?? CARD.header / 2)];
  // What goes back, or to itself, swings out so that it is not hidden behind the cards.
  if (x2 <= x1) return [{ edge, path: `M${x1},${y1} ${curve(x1, y1, x2, y2, CARD.gapX * 0.9)}` }];
  let [x, y, path] = [x1, y1, `M${x1},${y1}`];
  for (let column = Math.round(from.x / PITCH) + 1; column * PITCH < x2; column++) {
    const left = column * PITCH;
    const wanted = y1 + ((y2 - y1) * (left + CARD.width / 2 - x1)) / (x2 - x1);
    const lane = laneNear(gaps.get(column) ?? [], wanted);
    path += ` ${curve(x, y, left, lane, (left - x) / 2)} H${left + CARD.width}`;
    [x, y] = [left + CARD.width, lane];
  }
  return [{ edge, path: `${path} ${curve(x, y, x2, y2, (x2 - x) / 2)}` }];
}

function curve(x1: number, y1: number, x2: number, y2: number, bend: number): string {
  return `C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
}

function laneNear(gaps: Gaps, wanted: number): number {
  let nearest = gaps[0];
  for (const gap of gaps) if (nearest === undefined || Math.abs(gap.y - wanted) < Math.abs(nearest.y - wanted)) nearest = gap;
  if (nearest === undefined) return wanted;
  const lane = nearest.passing++ % LANES;
  // The middle first, then the sides in turn.
  return nearest.y + LANE * Math.ceil(lane / 2) * (lane % 2 === 0 ? 1 : -1);
}
