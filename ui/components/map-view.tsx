import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { FlowState } from "../data/flow-store.ts";
import type { PlacedEdge } from "../domain/edges.ts";
import { type Layout, layoutMap } from "../domain/layout.ts";
import { outcome, type ServiceMap } from "../domain/service-map.ts";
import type { View } from "../domain/view.ts";
import { Card } from "./card.tsx";

interface MapProps {
  readonly map: ServiceMap;
  readonly view: View;
  readonly change: (part: Partial<View>) => void;
  /** Opens the newest flow that was stopped on an edge, by the edge's id. */
  readonly select: (edge: string) => void;
  readonly state: FlowState;
}

interface Camera {
  readonly x: number;
  readonly y: number;
  readonly scale: number;
}

const MIN_SCALE = 0.1;
const MAX_SCALE = 2;
const STEP = 60;
/** Without zooming for so long, the drawing is painted anew. */
const REST_MS = 160;

/** The service map: cards and what flows between them. Drag or arrow keys move it, the wheel or + and - zoom, 0 fits it. */
export function MapView({ map, view, change, select, state }: MapProps) {
  const layout = useMemo(() => layoutMap(map), [map]);
  const frame = useRef<HTMLDivElement>(null);
  const camera = useCamera(frame, layout);
  const choosePeer = useCallback((peer: string) => change({ peer: view.peer === peer ? "" : peer }), [change, view.peer]);
  return (
    <section class="map" aria-label="Service map">
      <div
        ref={frame}
        class="frame"
        role="application"
        aria-label="Service map: arrow keys move, plus and minus zoom, 0 fits"
        tabindex={0}
        onKeyDown={camera.onKeyDown}
        onPointerDown={camera.onPointerDown}
        onWheel={camera.onWheel}
      >
        <svg>
          <title>Service map</title>
          <g>
            {layout.edges.map((placed) => (
              <Edge key={placed.edge.id} placed={placed} select={select} />
            ))}
            {layout.cards.map((card) => (
              <Card key={card.node.peer.id} card={card} chosen={card.node.peer.id === view.peer} choose={choosePeer} />
            ))}
          </g>
        </svg>
      </div>
      {layout.cards.length === 0 && <p class="empty">{emptyText(state, view)}</p>}
      <div class="zoom">
        <button type="button" aria-label="Zoom in" onClick={() => camera.zoom(1.25)}>
          +
        </button>
        <button type="button" aria-label="Zoom out" onClick={() => camera.zoom(0.8)}>
          −
        </button>
        <button type="button" aria-label="Fit the map" onClick={camera.fit}>
          ⤢
        </button>
      </div>
    </section>
  );
}

function emptyText({ connection, flows }: FlowState, view: View): string {
  if (connection === "lost") return "Hubble Relay cannot be reached. The page tries again by itself; look at: cilium status";
  if (connection === "connecting") return "Waiting for flows…";
  if (flows.length > 0) return "No flow matches the filters.";
  return view.since === undefined ? "No flows yet: nothing has talked in this time." : "Nothing is kept of this time.";
}

function Edge({ placed: { edge, path }, select }: { readonly placed: PlacedEdge; readonly select: (edge: string) => void }) {
  const { id, lastDenied, counts } = edge;
  const open = lastDenied && (() => select(id));
  const text = `${edge.source} → ${edge.destination} ${edge.port}: ${counts.forwarded} forwarded, ${counts.denied} denied`;
  return (
    <g class={`edge ${outcome(counts)}`}>
      <path d={path} class="line" marker-end="none" />
      {open ? (
        // biome-ignore lint/a11y/useSemanticElements: a button cannot be part of a drawing
        <path
          d={path}
          class="touch"
          role="button"
          tabindex={0}
          aria-label={`${text}; why it was denied`}
          onClick={open}
          onKeyDown={({ key }) => key === "Enter" && open()}
        >
          <title>{text}; click for the reason</title>
        </path>
      ) : (
        <path d={path} class="touch">
          <title>{text}</title>
        </path>
      )}
    </g>
  );
}

/**
 * Moving and zooming shift and stretch the drawing as it is painted, a layer of its own, so that they stay smooth with hundreds of cards; once the
 * zooming rests it is painted anew, or letters would stay blurred.
 */
function useCamera(frame: { current: HTMLDivElement | null }, layout: Layout) {
  const camera = useRef<Camera>({ x: 20, y: 20, scale: 1 });
  const [touched, setTouched] = useState(false);
  const rest = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const set = useCallback(
    (next: Camera, zooming = false) => {
      camera.current = next;
      const drawing = frame.current?.firstElementChild;
      if (!(drawing instanceof SVGSVGElement)) return;
      const settle = () => {
        paint(drawing, camera.current.scale, layout);
        place(drawing, camera.current);
      };
      clearTimeout(rest.current);
      if (zooming) rest.current = setTimeout(settle, REST_MS);
      else settle();
      place(drawing, next);
    },
    [frame, layout],
  );
  const fit = useCallback(() => {
    const box = frame.current?.getBoundingClientRect();
    if (!box || layout.width === 0) return;
    const scale = Math.max(MIN_SCALE, Math.min(1, (box.width - 40) / layout.width, (box.height - 40) / layout.height));
    set({ x: (box.width - layout.width * scale) / 2, y: Math.max(20, (box.height - layout.height * scale) / 2), scale });
  }, [frame, layout.width, layout.height, set]);
  // Until the user moves it, the map fits itself as it grows.
  useEffect(() => {
    if (touched) set(camera.current);
    else fit();
  }, [touched, fit, set]);
  const zoom = (factor: number, at?: { readonly x: number; readonly y: number }) => {
    const box = frame.current?.getBoundingClientRect();
    const { x, y, scale } = camera.current;
    const next = Math.min(MAX_SCALE, Math.max(MIN_SCALE, scale * factor));
    const center = at ?? { x: (box?.width ?? 0) / 2, y: (box?.height ?? 0) / 2 };
    setTouched(true);
    set({ x: center.x - ((center.x - x) * next) / scale, y: center.y - ((center.y - y) * next) / scale, scale: next }, true);
  };
  const move = (dx: number, dy: number) => {
    setTouched(true);
    set({ ...camera.current, x: camera.current.x + dx, y: camera.current.y + dy });
  };
  /** Not a card or an edge, which have gestures and keys of their own. */
  const isBackground = (target: EventTarget | null) => target === frame.current || target === frame.current?.firstElementChild;
  return {
    zoom: (factor: number) => zoom(factor),
    fit() {
      setTouched(false);
      fit();
    },
    onWheel(event: WheelEvent) {
      event.preventDefault();
      const box = frame.current?.getBoundingClientRect();
      zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1, { x: event.clientX - (box?.left ?? 0), y: event.clientY - (box?.top ?? 0) });
    },
    onPointerDown(event: PointerEvent) {
      if (!isBackground(event.target)) return;
      const target = frame.current;
      target?.setPointerCapture(event.pointerId);
      const dragged = ({ movementX, movementY }: PointerEvent) => move(movementX, movementY);
      target?.addEventListener("pointermove", dragged);
      target?.addEventListener("pointerup", () => target.removeEventListener("pointermove", dragged), { once: true });
    },
    onKeyDown({ key, target }: KeyboardEvent) {
      if (!isBackground(target)) return;
      const moves: Readonly<Record<string, readonly [number, number]>> = {
        ArrowLeft: [STEP, 0],
        ArrowRight: [-STEP, 0],
        ArrowUp: [0, STEP],
        ArrowDown: [0, -STEP],
      };
      const by = moves[key];
      if (by) move(...by);
      else if (key === "+" || key === "=") zoom(1.25);
      else if (key === "-") zoom(0.8);
      else if (key === "0") {
        setTouched(false);
        fit();
      }
    },
  };
}

/** Shows the drawing where the camera looks, in whole pixels: what is painted is moved and stretched. */
function place(drawing: SVGSVGElement, { x, y, scale }: Camera): void {
  const stretch = scale / paintedScale(drawing);
  drawing.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)${stretch === 1 ? "" : ` scale(${stretch})`}`;
}

/** Paints the drawing at a scale; nothing happens when it is painted so already. */
function paint(drawing: SVGSVGElement, scale: number, { width, height }: Layout): void {
  const size = { width: String(Math.ceil(width * scale)), height: String(Math.ceil(height * scale)) };
  const isPainted = paintedScale(drawing) === scale && drawing.getAttribute("width") === size.width;
  if (isPainted && drawing.getAttribute("height") === size.height) return;
  drawing.querySelector("g")?.setAttribute("transform", `scale(${scale})`);
  drawing.setAttribute("width", size.width);
  drawing.setAttribute("height", size.height);
  drawing.dataset.scale = String(scale);
}

function paintedScale({ dataset }: SVGSVGElement): number {
  return Number(dataset.scale ?? 1);
}
