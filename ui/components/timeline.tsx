import { useMemo, useRef, useState } from "preact/hooks";
import type { Flow } from "../domain/flow.ts";
import { barsOf } from "../domain/timeline.ts";
import type { View } from "../domain/view.ts";

const BARS = 120;
const HEIGHT = 40;

interface TimelineProps {
  readonly flows: readonly Flow[];
  readonly view: View;
  readonly change: (part: Partial<View>) => void;
}

/** Flows over time. Dragging over a stretch, or Enter on a bar, looks at that time. */
export function Timeline({ flows, view, change }: TimelineProps) {
  const { since, until, window } = view;
  const [from, to] = useMemo(
    () => (since !== undefined && until !== undefined ? [since, until] : [Date.now() - window, Date.now()]),
    // New flows move the live window on.
    [since, until, window, flows],
  );
  const bars = useMemo(() => barsOf(flows, from, to, BARS), [flows, from, to]);
  const most = Math.max(1, ...bars.map(({ forwarded, denied }) => forwarded + denied));
  const [drag, setDrag] = useState<readonly [number, number] | undefined>();
  const box = useRef<HTMLDivElement>(null);
  const barAt = (clientX: number) => {
    const { left, width } = box.current?.getBoundingClientRect() ?? { left: 0, width: 1 };
    return Math.max(0, Math.min(BARS - 1, Math.floor(((clientX - left) / width) * BARS)));
  };
  const look = (first: number, last: number) => {
    const [start, end] = [bars[Math.min(first, last)], bars[Math.max(first, last)]];
    if (start && end) change({ since: Math.floor(start.from), until: Math.ceil(end.to) });
  };
  return (
    <div
      class="timeline"
      ref={box}
      onPointerDown={({ clientX }) => setDrag([barAt(clientX), barAt(clientX)])}
      onPointerMove={({ clientX }) => drag && setDrag([drag[0], barAt(clientX)])}
      onPointerLeave={() => setDrag(undefined)}
      onPointerUp={({ clientX }) => {
        if (drag && drag[0] !== barAt(clientX)) look(drag[0], barAt(clientX));
        setDrag(undefined);
      }}
    >
      <svg viewBox={`0 0 ${BARS} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label="Flows over time">
        <title>Flows over time: drag over a stretch to look at it</title>
        {drag && <rect class="drag" x={Math.min(...drag)} width={Math.abs(drag[1] - drag[0]) + 1} y="0" height={HEIGHT} />}
        {bars.map(({ from: start, forwarded, denied }, index) => (
          <g key={start}>
            <rect
              class="forwarded"
              x={index + 0.1}
              width="0.8"
              y={HEIGHT - (forwarded / most) * HEIGHT}
              height={(forwarded / most) * HEIGHT}
            />
            <rect
              class="denied"
              x={index + 0.1}
              width="0.8"
              y={HEIGHT - ((forwarded + denied) / most) * HEIGHT}
              height={(denied / most) * HEIGHT}
            />
          </g>
        ))}
      </svg>
      <span class="from">{clock(from)}</span>
      <span class="to">{since === undefined ? "now" : clock(to)}</span>
    </div>
  );
}

function clock(time: number): string {
  return new Date(time).toISOString().slice(11, 19);
}
