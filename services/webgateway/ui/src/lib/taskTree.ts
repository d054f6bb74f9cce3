/** Tasks of a layout as rows of a tree: groups fold, tasks keep the order of the graph. */
import type { Layout, TaskNode } from '../queries/client';

export type TreeRow =
  | { kind: 'group'; id: string; label: string; depth: number; open: boolean; taskIds: string[] }
  | { kind: 'task'; id: string; label: string; depth: number; task: TaskNode };

/** Visible rows with the groups in `folded` closed. Tasks come in topological order, a group where its first task is. */
export function taskTree(layout: Layout, folded: ReadonlySet<string>): TreeRow[] {
  const parents = new Map(layout.groups.map((group) => [group.group_id, group.parent_id]));
  const labels = new Map(layout.groups.map((group) => [group.group_id, group.label]));
  const members = new Map<string, string[]>();
  const children = new Map<string, ({ group: string } | { task: TaskNode })[]>();
  const placed = new Set<string>();

  const place = (groupId: string) => {
    if (groupId === '' || placed.has(groupId)) return;
    placed.add(groupId);
    const parent = parents.get(groupId) ?? '';
    place(parent);
    push(children, parent, { group: groupId });
  };
  for (const task of topological(layout.tasks)) {
    place(task.group_id);
    push(children, task.group_id, { task });
    for (let group = task.group_id; group !== ''; group = parents.get(group) ?? '')
      push(members, group, task.task_id);
  }

  const rows: TreeRow[] = [];
  const walk = (parent: string, depth: number) => {
    for (const child of children.get(parent) ?? []) {
      if ('task' in child) {
        rows.push({
          kind: 'task',
          id: child.task.task_id,
          label: shortName(child.task.task_id, parent),
          depth,
          task: child.task,
        });
      } else {
        const open = !folded.has(child.group);
        const label = labels.get(child.group) || shortName(child.group, parent);
        rows.push({
          kind: 'group',
          id: child.group,
          label,
          depth,
          open,
          taskIds: members.get(child.group) ?? [],
        });
        if (open) walk(child.group, depth + 1);
      }
    }
  };
  walk('', 0);
  return rows;
}

/** `extract.fetch` inside the group `extract` is `fetch`. */
export function shortName(id: string, parent: string): string {
  return parent && id.startsWith(`${parent}.`) ? id.slice(parent.length + 1) : id;
}

/** Upstream before downstream, otherwise as written; tasks of a cycle keep their place at the end. */
export function topological(tasks: TaskNode[]): TaskNode[] {
  const byId = new Map(tasks.map((task) => [task.task_id, task]));
  const waiting = new Map<string, number>();
  const downstream = new Map<string, string[]>();
  for (const task of tasks) {
    const upstream = task.upstream_ids.filter((id) => byId.has(id));
    waiting.set(task.task_id, upstream.length);
    for (const id of upstream) push(downstream, id, task.task_id);
  }
  const order: TaskNode[] = [];
  let ready = tasks.filter((task) => waiting.get(task.task_id) === 0).map((task) => task.task_id);
  const done = new Set<string>();
  while (ready.length > 0) {
    const next: string[] = [];
    for (const id of ready) {
      const task = byId.get(id);
      if (task) order.push(task);
      done.add(id);
      for (const after of downstream.get(id) ?? []) {
        const left = (waiting.get(after) ?? 0) - 1;
        waiting.set(after, left);
        if (left === 0) next.push(after);
      }
    }
    ready = next;
  }
  return [...order, ...tasks.filter((task) => !done.has(task.task_id))];
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
