import { describe, expect, it } from 'vitest';
import { graphModel } from '../src/components/graph/model';
import { ticks } from '../src/lib/gantt';
import { countsText, worstState } from '../src/lib/states';
import { taskTree } from '../src/lib/taskTree';
import type { Layout, TaskNode } from '../src/queries/client';

function task(task_id: string, upstream_ids: string[], group_id = ''): TaskNode {
  return {
    task_id,
    upstream_ids,
    group_id,
    operator: 'PythonOperator',
    trigger_rule: 'all_success',
    retries: 0,
    pool: 'default_pool',
    priority_weight: 1,
    mapped: false,
    is_sensor: false,
    is_setup: false,
    is_teardown: false,
    doc_md: '',
    owner: '',
    template_fields: {},
    resources: {},
  };
}

const group = (group_id: string, parent_id: string) => ({
  group_id,
  parent_id,
  label: '',
  tooltip: '',
  mapped: false,
});
const layout: Layout = {
  dag_id: 'etl',
  version: 'v1',
  tasks: [
    task('load', ['shape.inner.b']),
    task('shape.inner.b', ['shape.a'], 'shape.inner'),
    task('shape.a', ['start'], 'shape'),
    task('start', []),
  ],
  groups: [group('shape', ''), group('shape.inner', 'shape')],
  edge_labels: [{ upstream_id: 'start', downstream_id: 'shape.a', label: 'yes' }],
};

describe('the tree of tasks', () => {
  it('shows upstream before downstream, inside groups, with short names', () => {
    expect(taskTree(layout, new Set()).map((row) => [row.depth, row.label])).toEqual([
      [0, 'start'],
      [0, 'shape'],
      [1, 'a'],
      [1, 'inner'],
      [2, 'b'],
      [0, 'load'],
    ]);
  });

  it('folds a group with everything in it', () => {
    const rows = taskTree(layout, new Set(['shape']));
    expect(rows.map((row) => row.id)).toEqual(['start', 'shape', 'load']);
    expect(rows[1]).toMatchObject({ kind: 'group', open: false, taskIds: ['shape.a', 'shape.inner.b'] });
  });

  it('keeps tasks of a cycle', () => {
    const cycle = { ...layout, tasks: [task('x', ['y']), task('y', ['x'])], groups: [] };
    expect(taskTree(cycle, new Set()).map((row) => row.id)).toEqual(['x', 'y']);
  });
});

describe('the graph', () => {
  it('draws a folded group as one box and its edges once', () => {
    const model = graphModel(layout, new Set(['shape', 'shape.inner']));
    expect(model.boxes.map((box) => [box.kind, box.id])).toEqual([
      ['folded', 'shape'],
      ['task', 'load'],
      ['task', 'start'],
    ]);
    expect(model.edges).toEqual([
      { id: 'shape→load', source: 'shape', target: 'load', label: '' },
      { id: 'start→shape', source: 'start', target: 'shape', label: 'yes' },
    ]);
  });

  it('puts parents before their children', () => {
    const swapped = { ...layout, groups: [...layout.groups].reverse() };
    const ids = graphModel(swapped, new Set()).boxes.map((box) => box.id);
    expect(ids.indexOf('shape')).toBeLessThan(ids.indexOf('shape.inner'));
  });
});

it('shows the state that needs attention for a group', () => {
  expect(worstState(['success', null, 'running', 'failed'])).toBe('failed');
  expect(worstState(['success', 'skipped'])).toBe('skipped');
  expect(worstState([null, undefined])).toBeNull();
  expect(countsText({ success: 12, failed: 2 })).toBe('2 failed, 12 success');
});

it('draws time lines at round distances', () => {
  expect(ticks(74)).toEqual([0, 10, 20, 30, 40, 50, 60, 70]);
  expect(ticks(5400)).toEqual([0, 900, 1800, 2700, 3600, 4500, 5400]);
  expect(ticks(40 * 86_400).length).toBeLessThanOrEqual(9);
});
