import {
  BaseEdge,
  EdgeLabelRenderer,
  Handle,
  Position,
  type Edge,
  type EdgeProps,
  type Node,
  type NodeProps,
} from '@xyflow/react';
import { ChevronDown, ChevronRight } from 'lucide-react';
import { countsText, stateLabel, type TaskState } from '../../lib/states';
import { StateIcon } from '../StateIcon';
import type { Point } from './placement';
import type { GraphBox } from './model';

export interface BoxData extends Record<string, unknown> {
  box: GraphBox;
  state: TaskState | null;
  counts: Record<string, number>;
  selected: boolean;
  onOpen: (box: GraphBox) => void;
}

export interface EdgeData extends Record<string, unknown> {
  points: Point[];
  text: string;
}

function Handles() {
  return (
    <>
      <Handle type="target" position={Position.Left} isConnectable={false} />
      <Handle type="source" position={Position.Right} isConnectable={false} />
    </>
  );
}

export function TaskBox({ data }: NodeProps<Node<BoxData>>) {
  const { box, state, counts, selected, onOpen } = data;
  const task = box.task;
  const instances = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const many = task?.mapped ?? false;
  const kind = [
    task?.operator.replace(/Operator$/, ''),
    task?.is_setup && 'setup',
    task?.is_teardown && 'teardown',
    task && task.trigger_rule !== 'all_success' && task.trigger_rule,
  ]
    .filter(Boolean)
    .join(' · ');
  return (
    <button
      type="button"
      className={`gn ${many ? 'gn-many' : ''} ${selected ? 'gn-selected' : ''}`}
      style={
        {
          width: box.width,
          height: box.height,
          '--st': state ? `var(--st-${state})` : 'var(--border-strong)',
        } as React.CSSProperties
      }
      title={many && instances ? countsText(counts) : state ? stateLabel(state) : box.id}
      aria-label={`${box.id}${state ? `: ${stateLabel(state)}` : ''}`}
      onClick={() => onOpen(box)}
    >
      <Handles />
      {state && <StateIcon state={state} size={16} />}
      <span className="gn-text">
        <span className="gn-label">
          {box.label}
          {many && <span className="faint"> [{instances || ''}]</span>}
        </span>
        <span className="gn-kind">{kind}</span>
      </span>
    </button>
  );
}

export function FoldedBox({ data }: NodeProps<Node<BoxData>>) {
  const { box, state, counts, onOpen } = data;
  return (
    <button
      type="button"
      className="gn gn-many gn-folded"
      style={
        {
          width: box.width,
          height: box.height,
          '--st': state ? `var(--st-${state})` : 'var(--border-strong)',
        } as React.CSSProperties
      }
      title={countsText(counts) || `${box.taskIds.length} tasks`}
      aria-label={`Open group ${box.label}`}
      aria-expanded={false}
      onClick={() => onOpen(box)}
    >
      <Handles />
      {state ? <StateIcon state={state} size={16} /> : <ChevronRight size={14} />}
      <span className="gn-text">
        <span className="gn-label">{box.label}</span>
        <span className="gn-kind">{box.taskIds.length} tasks</span>
      </span>
    </button>
  );
}

export function GroupBox({ data }: NodeProps<Node<BoxData>>) {
  return (
    <div className="gn-group">
      <Handles />
      <button
        type="button"
        aria-expanded
        aria-label={`Fold group ${data.box.label}`}
        onClick={() => data.onOpen(data.box)}
      >
        <ChevronDown size={13} />
        {data.box.label}
      </button>
    </div>
  );
}

/** A path along the points with rounded corners. */
function rounded(points: Point[], radius = 6): string {
  const [first, ...rest] = points;
  if (!first) return '';
  let path = `M${first.x} ${first.y}`;
  rest.forEach((point, index) => {
    const before = points[index] as Point;
    const after = points[index + 2];
    if (!after) {
      path += `L${point.x} ${point.y}`;
      return;
    }
    const near = shorten(point, before, radius);
    const far = shorten(point, after, radius);
    path += `L${near.x} ${near.y}Q${point.x} ${point.y} ${far.x} ${far.y}`;
  });
  return path;
}

function shorten(from: Point, to: Point, by: number): Point {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  const part = length === 0 ? 0 : Math.min(by, length / 2) / length;
  return { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part };
}

export function RoutedEdge({ id, data, markerEnd }: EdgeProps<Edge<EdgeData>>) {
  const points = data?.points ?? [];
  const middle = points[Math.floor((points.length - 1) / 2)];
  const next = points[Math.floor((points.length - 1) / 2) + 1];
  return (
    <>
      <BaseEdge id={id} path={rounded(points)} markerEnd={markerEnd} />
      {data?.text && middle && next && (
        <EdgeLabelRenderer>
          <span
            className="gn-edge-label"
            style={{
              transform: `translate(-50%, -50%) translate(${(middle.x + next.x) / 2}px, ${(middle.y + next.y) / 2}px)`,
            }}
          >
            {data.text}
          </span>
        </EdgeLabelRenderer>
      )}
    </>
  );
}
