/** Where the boxes and edges of a graph are drawn. */
import { placeByElk } from './elk';
import { placeInLayers } from './layers';
import type { GraphModel } from './model';

export type Direction = 'RIGHT' | 'DOWN';

export interface Point {
  x: number;
  y: number;
}

export interface Placement {
  /** Relative to the parent. */
  boxes: Map<string, { x: number; y: number; width: number; height: number }>;
  /** Points of each edge from source to target, in the coordinates of the whole graph. */
  edges: Map<string, Point[]>;
}

/** Up to so many boxes ELK is quick enough (about a second). */
const ELK_UP_TO = 600;

export async function place(model: GraphModel, direction: Direction): Promise<Placement> {
  return model.boxes.length > ELK_UP_TO ? placeInLayers(model, direction) : placeByElk(model, direction);
}
