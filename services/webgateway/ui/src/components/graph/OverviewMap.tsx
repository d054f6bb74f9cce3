/** The map of a large graph: one path a state. React Flow's own has an element for each box, which thousands slow down. */
import { Panel, useReactFlow, useStore } from '@xyflow/react';
import { memo, useMemo, type PointerEvent } from 'react';
import { boxesPath, type Box } from '../../lib/chart';

const WIDTH = 200;
const HEIGHT = 150;
/** A box is at least so many pixels, or it would not be seen. */
const LEAST = 1;

export interface MapBox extends Box {
  colour: string;
}

export function OverviewMap({ boxes }: { boxes: MapBox[] }) {
  const flow = useReactFlow();
  const [x, y, zoom] = useStore((state) => state.transform);
  const width = useStore((state) => state.width);
  const height = useStore((state) => state.height);
  const whole = useMemo(() => extent(boxes), [boxes]);
  const scale = Math.min(WIDTH / whole.width, HEIGHT / whole.height);
  const go = (event: PointerEvent<SVGSVGElement>) => {
    const at = event.currentTarget.getBoundingClientRect();
    void flow.setCenter((event.clientX - at.left) / scale, (event.clientY - at.top) / scale, { zoom });
  };
  return (
    <Panel position="bottom-right" className="graph-map">
      <svg
        width={Math.ceil(whole.width * scale)}
        height={Math.ceil(whole.height * scale)}
        role="img"
        aria-label="Map of the graph"
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          go(event);
        }}
        onPointerMove={(event) => event.buttons === 1 && go(event)}
      >
        <Shapes boxes={boxes} scale={scale} />
        <rect
          className="graph-map-view"
          x={(-x / zoom) * scale}
          y={(-y / zoom) * scale}
          width={Math.max(4, (width / zoom) * scale)}
          height={Math.max(4, (height / zoom) * scale)}
        />
      </svg>
    </Panel>
  );
}

const Shapes = memo(function Shapes({ boxes, scale }: { boxes: MapBox[]; scale: number }) {
  const byColour = new Map<string, Box[]>();
  for (const { colour, ...box } of boxes) {
    const shown = {
      x: box.x * scale,
      y: box.y * scale,
      width: Math.max(LEAST, box.width * scale),
      height: Math.max(LEAST, box.height * scale),
    };
    const same = byColour.get(colour);
    if (same) same.push(shown);
    else byColour.set(colour, [shown]);
  }
  return [...byColour].map(([colour, shown]) => <path key={colour} fill={colour} d={boxesPath(shown)} />);
});

function extent(boxes: readonly Box[]): { width: number; height: number } {
  let [width, height] = [1, 1];
  for (const box of boxes) {
    width = Math.max(width, box.x + box.width);
    height = Math.max(height, box.y + box.height);
  }
  return { width, height };
}
