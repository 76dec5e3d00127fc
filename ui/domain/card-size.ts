import type { MapNode } from "./service-map.ts";

/** Pixels. */
export const CARD = { width: 230, header: 44, port: 24, request: 18, bottom: 8, gapX: 130, gapY: 26 } as const;

export interface PlacedCard {
  readonly node: MapNode;
  readonly x: number;
  readonly y: number;
  readonly height: number;
  /** Middle of each port's row, from the card's top. */
  readonly portY: ReadonlyMap<string, number>;
}
