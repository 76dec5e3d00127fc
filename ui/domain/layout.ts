import { CARD, type PlacedCard } from "./card-size.ts";
import { drawEdges, type PlacedEdge } from "./edges.ts";
import type { MapNode, ServiceMap } from "./service-map.ts";

export interface Layout {
  readonly cards: readonly PlacedCard[];
  readonly edges: readonly PlacedEdge[];
  readonly width: number;
  readonly height: number;
}

/**
 * Places cards in columns, clients left of what they call (longest path; edges that close a circle do not count), namespaces together, and each
 * near those it talks to. The same map gives the same picture.
 */
export function layoutMap(map: ServiceMap): Layout {
  const columns = orderColumns(map, assignColumns(map));
  const cards = new Map<string, PlacedCard>();
  for (const [index, column] of columns.entries()) placeColumn(column, index, cards);
  const placed = [...cards.values()];
  return {
    cards: placed,
    edges: drawEdges([...map.edges.values()], cards),
    width: Math.max(0, ...placed.map(({ x }) => x + CARD.width)),
    height: Math.max(0, ...placed.map(({ y, height }) => y + height)),
  };
}

/** Column of each node: one right of the rightmost that calls it. */
export function assignColumns({ nodes, edges }: ServiceMap): Map<string, number> {
  const outgoing = new Map<string, Set<string>>([...nodes.keys()].map((id) => [id, new Set<string>()]));
  for (const { source, destination } of edges.values()) if (source !== destination) outgoing.get(source)?.add(destination);
  const columns = new Map<string, number>();
  for (const id of topological([...nodes.keys()].sort(), outgoing)) {
    const column = columns.get(id) ?? 0;
    columns.set(id, column);
    for (const next of outgoing.get(id) ?? []) columns.set(next, Math.max(columns.get(next) ?? 0, column + 1));
  }
  return columns;
}

// Depth first without recursion; an edge back to what is being visited closes a circle and is taken out.
function topological(ids: readonly string[], outgoing: Map<string, Set<string>>): string[] {
  const state = new Map<string, "open" | "done">();
  const finished: string[] = [];
  for (const start of ids) {
    if (state.has(start)) continue;
    const stack = [{ id: start, rest: [...(outgoing.get(start) ?? [])].sort() }];
    state.set(start, "open");
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const next = top.rest.shift();
      if (next === undefined) {
        state.set(top.id, "done");
        finished.push(top.id);
        stack.pop();
      } else if (state.get(next) === "open") outgoing.get(top.id)?.delete(next);
      else if (!state.has(next)) {
        state.set(next, "open");
        stack.push({ id: next, rest: [...(outgoing.get(next) ?? [])].sort() });
      }
    }
  }
  return finished.reverse();
}

const KIND_ORDER = { workload: 0, service: 1, reserved: 2, world: 3 } as const;

function orderColumns({ nodes, edges }: ServiceMap, columnOf: ReadonlyMap<string, number>): MapNode[][] {
  const columns: MapNode[][] = [];
  for (const node of nodes.values()) {
    const index = columnOf.get(node.peer.id) ?? 0;
    columns[index] = [...(columns[index] ?? []), node];
  }
  const callers = new Map<string, string[]>();
  for (const { source, destination } of edges.values()) callers.set(destination, [...(callers.get(destination) ?? []), source]);
  const rank = new Map<string, number>();
  const middle = (id: string) => {
    const ranks = (callers.get(id) ?? []).flatMap((caller) => rank.get(caller) ?? []);
    return ranks.length === 0 ? Number.POSITIVE_INFINITY : ranks.reduce((sum, one) => sum + one, 0) / ranks.length;
  };
  for (const [index, column] of columns.entries()) {
    const keys = new Map((column ?? []).map(({ peer }) => [peer.id, middle(peer.id)]));
    columns[index] = (column ?? []).sort(
      (a, b) =>
        KIND_ORDER[a.peer.kind] - KIND_ORDER[b.peer.kind] ||
        a.peer.namespace.localeCompare(b.peer.namespace) ||
        compare(keys.get(a.peer.id), keys.get(b.peer.id)) ||
        a.peer.name.localeCompare(b.peer.name),
    );
    for (const [row, { peer }] of (columns[index] ?? []).entries()) rank.set(peer.id, row);
  }
  return columns;
}

function compare(a = 0, b = 0): number {
  return a < b ? -1 : Number(a > b);
}

function placeColumn(column: readonly MapNode[], index: number, cards: Map<string, PlacedCard>): void {
  let y = 0;
  for (const node of column) {
    const portY = new Map<string, number>();
    let height: number = CARD.header;
    for (const { port, requests } of sortedPorts(node)) {
      portY.set(port, height + CARD.port / 2);
      height += CARD.port + requests.size * CARD.request;
    }
    height += node.ports.size > 0 ? CARD.bottom : 0;
    cards.set(node.peer.id, { node, x: index * (CARD.width + CARD.gapX), y, height, portY });
    y += height + CARD.gapY;
  }
}

/** A card's ports in the order of its rows. */
export function sortedPorts({ ports }: MapNode) {
  return [...ports.values()].sort((a, b) => Number.parseInt(a.port, 10) - Number.parseInt(b.port, 10) || a.port.localeCompare(b.port));
}
