/** The graph of a DAG or of a run; loaded only when it is opened. */
import '@xyflow/react/dist/style.css';
import {
  Background,
  Controls,
  MarkerType,
  MiniMap,
  ReactFlow,
  ReactFlowProvider,
  useReactFlow,
  type Edge,
  type Node,
} from '@xyflow/react';
import { useQuery } from '@tanstack/react-query';
import { ArrowDown, ArrowRight, Waypoints } from 'lucide-react';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { worstState, type TaskState } from '../../lib/states';
import type { Layout } from '../../queries/client';
import { Empty, Loading, Problem } from '../ui';

import { FoldedBox, GroupBox, RoutedEdge, TaskBox, type BoxData, type EdgeData } from './GraphNodes';
import { graphModel, type GraphBox } from './model';
import { OverviewMap, type MapBox } from './OverviewMap';
import { place, type Direction } from './placement';
import './graph.css';

const NODE_TYPES = { task: TaskBox, folded: FoldedBox, open: GroupBox };
const EDGE_TYPES = { routed: RoutedEdge };
/** Larger graphs open with their groups folded. */
const FOLD_ABOVE = 150;
/** The map of a larger graph is drawn as a whole. */
const ELEMENTS_UP_TO = 600;

export interface TaskStates {
  /** Counts by state of the instances of a task; one entry when it is not mapped. */
  get: (taskId: string) => Record<string, number> | undefined;
}

interface Props {
  layout: Layout;
  states?: TaskStates;
  selected?: string;
  onTask?: (taskId: string) => void;
}

export function Graph(props: Props) {
  return (
    <ReactFlowProvider>
      <GraphCanvas key={`${props.layout.dag_id}@${props.layout.version}`} {...props} />
    </ReactFlowProvider>
  );
}

function GraphCanvas({ layout, states, selected, onTask }: Props) {
  const flow = useReactFlow();
  const [direction, setDirection] = useState<Direction>('RIGHT');
  const [folded, setFolded] = useState<ReadonlySet<string>>(
    () => new Set(layout.tasks.length > FOLD_ABOVE ? layout.groups.map((group) => group.group_id) : []),
  );
  const model = useMemo(() => graphModel(layout, folded), [layout, folded]);
  const shape = useMemo(
    () => `${layout.dag_id}@${layout.version} ${direction} ${[...folded].sort().join(' ')}`,
    [layout, direction, folded],
  );
  const placement = useQuery({
    queryKey: ['graph-placement', shape],
    queryFn: () => place(model, direction),
    staleTime: Infinity,
    structuralSharing: false,
    retry: false,
  });
  const latestTask = useRef(onTask);
  useEffect(() => {
    latestTask.current = onTask;
  });
  const onOpen = useCallback((box: GraphBox) => {
    if (box.kind === 'task') latestTask.current?.(box.id);
    else
      setFolded((before) => {
        const next = new Set(before);
        if (!next.delete(box.id)) next.add(box.id);
        return next;
      });
  }, []);

  const nodes = useMemo((): Node<BoxData>[] => {
    const places = placement.data?.boxes;
    if (!places) return [];
    return model.boxes.flatMap((box) => {
      const at = places.get(box.id);
      if (!at) return [];
      const counts: Record<string, number> = {};
      for (const id of box.taskIds)
        for (const [state, count] of Object.entries(states?.get(id) ?? {}))
          counts[state] = (counts[state] ?? 0) + count;
      return [
        {
          id: box.id,
          type: box.kind === 'group' ? 'open' : box.kind,
          position: { x: at.x, y: at.y },
          ...(box.parent ? { parentId: box.parent } : {}),
          width: at.width,
          height: at.height,
          style: { width: at.width, height: at.height },
          draggable: false,
          connectable: false,
          focusable: false,
          zIndex: box.kind === 'group' ? 0 : 1,
          data: {
            box,
            counts,
            state: worstState(Object.keys(counts) as TaskState[]),
            selected: box.id === selected,
            onOpen,
          },
        },
      ];
    });
  }, [model, placement.data, states, selected, onOpen]);

  const edges = useMemo((): Edge<EdgeData>[] => {
    const paths = placement.data?.edges;
    if (!paths) return [];
    return model.edges.flatMap((edge) => {
      const points = paths.get(edge.id);
      return points
        ? [
            {
              id: edge.id,
              type: 'routed',
              source: edge.source,
              target: edge.target,
              focusable: false,
              markerEnd: { type: MarkerType.ArrowClosed, width: 14, height: 14, color: 'var(--text-3)' },
              data: { points, text: edge.label },
            },
          ]
        : [];
    });
  }, [model, placement.data]);

  const large = model.boxes.length > ELEMENTS_UP_TO;
  const mapped = useMemo(() => {
    const found = new Map<string, MapBox>();
    // Parents come before their children, whose places are relative to them.
    for (const node of large ? nodes : []) {
      const parent = found.get(node.parentId ?? '');
      found.set(node.id, {
        x: (parent?.x ?? 0) + node.position.x,
        y: (parent?.y ?? 0) + node.position.y,
        width: node.width ?? 0,
        height: node.height ?? 0,
        colour:
          node.type === 'open'
            ? 'var(--sunken)'
            : node.data.state
              ? `var(--st-${node.data.state})`
              : 'var(--border-strong)',
      });
    }
    return [...found.values()];
  }, [large, nodes]);

  const ready = placement.isSuccess;
  const opened = useRef(selected);
  useEffect(() => {
    if (!ready) return;
    // All of it when that stays readable; otherwise the chosen task, or the beginning.
    requestAnimationFrame(() => {
      const near = opened.current;
      if (near && flow.getNode(near))
        void flow.fitView({ nodes: [{ id: near }], padding: 2, maxZoom: 1, minZoom: 0.6 });
      else void flow.fitView({ padding: 0.08, maxZoom: 1.1, minZoom: 0.35 });
    });
  }, [ready, shape, flow]);

  if (layout.tasks.length === 0)
    return (
      <Empty title="This DAG has no tasks" icon={<Waypoints size={28} strokeWidth={1.5} />}>
        <p>A dynamic DAG gets its tasks when a run starts.</p>
      </Empty>
    );
  if (placement.isPending)
    return <Loading rows={6} label={`Laying out ${layout.tasks.length.toLocaleString()} tasks`} />;
  if (placement.isError)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={placement.error} retry={() => void placement.refetch()} />
      </div>
    );
  return (
    <div className="graph" role="group" aria-label="Graph of the tasks">
      <ReactFlow
        nodes={nodes}
        edges={edges}
        nodeTypes={NODE_TYPES}
        edgeTypes={EDGE_TYPES}
        onlyRenderVisibleElements
        nodesDraggable={false}
        nodesConnectable={false}
        elementsSelectable={false}
        nodesFocusable={false}
        edgesFocusable={false}
        minZoom={0.05}
        maxZoom={2}
        proOptions={{ hideAttribution: true }}
      >
        <Background gap={20} size={1} color="var(--border)" />
        <Controls showInteractive={false} position="bottom-left" />
        {large && <OverviewMap boxes={mapped} />}
        {model.boxes.length > 25 && !large && (
          <MiniMap
            pannable
            zoomable
            nodeColor={(node) => {
              const state = (node.data as BoxData).state;
              return state ? `var(--st-${state})` : 'var(--border-strong)';
            }}
            maskColor="color-mix(in srgb, var(--bg) 60%, transparent)"
            bgColor="var(--surface)"
          />
        )}
      </ReactFlow>
      <div className="graph-tools">
        {layout.groups.length > 0 && (
          <button
            type="button"
            className="btn small"
            onClick={() =>
              setFolded(folded.size > 0 ? new Set() : new Set(layout.groups.map((group) => group.group_id)))
            }
          >
            {folded.size > 0 ? 'Open groups' : 'Fold groups'}
          </button>
        )}
        <button
          type="button"
          className="btn small"
          title="Turn the graph"
          onClick={() => setDirection(direction === 'RIGHT' ? 'DOWN' : 'RIGHT')}
        >
          {direction === 'RIGHT' ? <ArrowRight size={13} /> : <ArrowDown size={13} />}
          {direction === 'RIGHT' ? 'Left to right' : 'Top to bottom'}
        </button>
      </div>
    </div>
  );
}
