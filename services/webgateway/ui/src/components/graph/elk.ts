/** Places the boxes of a graph well, in a worker so that the page never waits; loaded when a graph is opened. */
import ELK, { type ElkNode } from 'elkjs/lib/elk-api';
import workerUrl from 'elkjs/lib/elk-worker.min.js?url';
import type { GraphModel } from './model';
import type { Direction, Placement } from './placement';

let elk: InstanceType<typeof ELK> | null = null;

export async function placeByElk(model: GraphModel, direction: Direction): Promise<Placement> {
  elk ??= new ELK({ workerFactory: () => new Worker(workerUrl) });
  const nodes = new Map<string, ElkNode>();
  const root: ElkNode = {
    id: '#root',
    children: [],
    layoutOptions: {
      'elk.algorithm': 'layered',
      'elk.direction': direction,
      'elk.hierarchyHandling': 'INCLUDE_CHILDREN',
      'elk.json.edgeCoords': 'ROOT',
      'elk.edgeRouting': 'ORTHOGONAL',
      'elk.layered.mergeEdges': 'true',
      'elk.layered.mergeHierarchyEdges': 'true',
      'elk.spacing.nodeNode': '20',
      'elk.layered.spacing.nodeNodeBetweenLayers': '48',
      'elk.layered.spacing.edgeNodeBetweenLayers': '16',
      'elk.layered.considerModelOrder.strategy': 'NODES_AND_EDGES',
      'elk.layered.nodePlacement.strategy': 'NETWORK_SIMPLEX',
      'elk.layered.thoroughness': '7',
      'elk.separateConnectedComponents': 'true',
    },
  };
  for (const box of model.boxes) {
    const node: ElkNode = { id: box.id, children: [] };
    if (box.kind === 'group') node.layoutOptions = { 'elk.padding': '[top=34,left=14,bottom=14,right=14]' };
    else Object.assign(node, { width: box.width, height: box.height });
    nodes.set(box.id, node);
    (nodes.get(box.parent) ?? root).children?.push(node);
  }
  root.edges = model.edges.map((edge) => ({
    id: edge.id,
    sources: [edge.source],
    targets: [edge.target],
    ...(edge.label ? { labels: [{ text: edge.label, width: edge.label.length * 6.5 + 8, height: 16 }] } : {}),
  }));
  const placed = await elk.layout(root);
  const boxes: Placement['boxes'] = new Map();
  const edges: Placement['edges'] = new Map();
  const read = (node: ElkNode) => {
    for (const child of node.children ?? []) {
      boxes.set(child.id, {
        x: child.x ?? 0,
        y: child.y ?? 0,
        width: child.width ?? 0,
        height: child.height ?? 0,
      });
      read(child);
    }
    for (const edge of node.edges ?? []) {
      const section = edge.sections?.[0];
      if (section) edges.set(edge.id, [section.startPoint, ...(section.bendPoints ?? []), section.endPoint]);
    }
  };
  read(placed);
  return { boxes, edges };
}
