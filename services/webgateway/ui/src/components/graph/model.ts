/** From a DAG's layout to the boxes that are drawn: open groups hold their tasks, folded ones are one box. */
import { shortName } from '../../lib/taskTree';
import type { Layout, TaskNode } from '../../queries/client';

export interface GraphBox {
  id: string;
  parent: string;
  kind: 'task' | 'group' | 'folded';
  label: string;
  task?: TaskNode;
  /** Tasks inside a group, at any depth. */
  taskIds: string[];
  width: number;
  height: number;
}

export interface GraphEdge {
  id: string;
  source: string;
  target: string;
  label: string;
}

export interface GraphModel {
  /** All tasks, each after those that it depends on. */
  order: string[];
  boxes: GraphBox[];
  edges: GraphEdge[];
}

const HEIGHT = 42;

function widthOf(label: string): number {
  return Math.round(Math.min(300, Math.max(132, label.length * 7.1 + 58)));
}

export function graphModel(layout: Layout, folded: ReadonlySet<string>): GraphModel {
  const parents = new Map(layout.groups.map((group) => [group.group_id, group.parent_id]));
  const members = new Map<string, string[]>(layout.groups.map((group) => [group.group_id, []]));
  /** The box that stands for something in this group: the outermost folded group around it. */
  const standIn = (groupId: string): string | null => {
    let found: string | null = null;
    for (let group = groupId; group !== ''; group = parents.get(group) ?? '')
      if (folded.has(group)) found = group;
    return found;
  };
  const shown = new Map<string, string>();
  const boxes: GraphBox[] = [];
  for (const task of layout.tasks) {
    for (let group = task.group_id; group !== ''; group = parents.get(group) ?? '')
      members.get(group)?.push(task.task_id);
    const folder = standIn(task.group_id);
    shown.set(task.task_id, folder ?? task.task_id);
    if (folder) continue;
    const label = shortName(task.task_id, task.group_id);
    boxes.push({
      id: task.task_id,
      parent: task.group_id,
      kind: 'task',
      label,
      task,
      taskIds: [task.task_id],
      // A mapped task's number of instances follows its name.
      width: widthOf(task.mapped ? `${label} [0000]` : label),
      height: HEIGHT,
    });
  }
  const groups = layout.groups.flatMap((group): GraphBox[] => {
    const folder = standIn(group.group_id);
    if (folder !== null && folder !== group.group_id) return [];
    const label = group.label || shortName(group.group_id, group.parent_id);
    return [
      {
        id: group.group_id,
        parent: group.parent_id,
        kind: folder ? 'folded' : 'group',
        label,
        taskIds: members.get(group.group_id) ?? [],
        width: widthOf(label),
        height: HEIGHT,
      },
    ];
  });
  const labels = new Map(
    layout.edge_labels.map((edge) => [`${edge.upstream_id}\n${edge.downstream_id}`, edge.label]),
  );
  const edges = new Map<string, GraphEdge>();
  for (const task of layout.tasks) {
    for (const upstream of task.upstream_ids) {
      const source = shown.get(upstream);
      const target = shown.get(task.task_id);
      if (!source || !target || source === target) continue;
      const id = `${source}→${target}`;
      const label = labels.get(`${upstream}\n${task.task_id}`) ?? '';
      const known = edges.get(id);
      if (!known) edges.set(id, { id, source, target, label });
      else if (label && !known.label) known.label = label;
    }
  }
  return {
    order: layout.tasks.map((task) => task.task_id),
    boxes: [...parentsFirst(groups), ...boxes],
    edges: [...edges.values()],
  };
}

/** React Flow wants a parent before its children. */
function parentsFirst(groups: GraphBox[]): GraphBox[] {
  const byId = new Map(groups.map((group) => [group.id, group]));
  const done = new Set<string>();
  const order: GraphBox[] = [];
  const visit = (group: GraphBox) => {
    if (done.has(group.id)) return;
    done.add(group.id);
    const parent = byId.get(group.parent);
    if (parent) visit(parent);
    order.push(group);
  };
  groups.forEach(visit);
  return order;
}
