import { useState } from "preact/hooks";
import { type Arrow, type End, portProblem, refusal } from "../domain/draw.ts";

interface BoardProps {
  readonly ends: ReadonlyMap<string, End>;
  readonly arrows: readonly Arrow[];
  readonly draw: (arrows: readonly Arrow[]) => void;
}

const ROW = 30;
const BOX = { width: 220, height: 24 };
const WIDTH = 640;
const TARGET_X = WIDTH - BOX.width;

/** A policy as a drawing: drag from who calls to who is called, or press one and then the other. */
export function Board({ ends, arrows, draw }: BoardProps) {
  const [start, setStart] = useState<End | undefined>();
  const [ports, setPorts] = useState("80/TCP");
  const [problem, setProblem] = useState("");
  const rows = [...ends.values()];
  const y = new Map(rows.map(({ id }, index) => [id, index * ROW + BOX.height / 2 + 3]));
  const reach = (to: End) => {
    if (start === undefined) return;
    const refused = refusal(start, to) ?? portProblem(ports);
    setProblem(refused ?? "");
    setStart(undefined);
    if (refused !== undefined) return;
    const others = arrows.filter((arrow) => arrow.from !== start.id || arrow.to !== to.id);
    draw([...others, { from: start.id, to: to.id, ports: ports.trim() }]);
  };
  const remove = (gone: Arrow) => draw(arrows.filter((arrow) => arrow !== gone));
  return (
    <section class="board" aria-label="Draw a policy">
      <p>
        <label>
          Ports <input id="draw-ports" value={ports} placeholder="all" onInput={({ currentTarget }) => setPorts(currentTarget.value)} />
        </label>
      </p>
      <p class="hint">
        {start ? `To whom may ${start.id} connect?` : "Drag from who calls to who is called; an arrow goes when it is pressed."}
      </p>
      {problem !== "" && (
        <p class="failure" role="alert">
          {problem}
        </p>
      )}
      <svg viewBox={`0 -24 ${WIDTH} ${rows.length * ROW + 30}`}>
        <title>Who calls, and who is called</title>
        <text class="board-name" y="-8">
          calls
        </text>
        <text class="board-name" x={TARGET_X} y="-8">
          is called
        </text>
        {arrows.map((arrow) => (
          <ArrowLine key={`${arrow.from} ${arrow.to}`} arrow={arrow} y1={y.get(arrow.from)} y2={y.get(arrow.to)} remove={remove} />
        ))}
        {rows.map((end, index) => (
          <g key={end.id} transform={`translate(0,${index * ROW})`}>
            <Box end={end} x={0} label={`from ${end.id}`} pressed={start === end} press={() => setStart(end)} />
            <Box end={end} x={TARGET_X} label={`to ${end.id}`} pressed={false} press={() => reach(end)} release={() => reach(end)} />
          </g>
        ))}
      </svg>
    </section>
  );
}

interface BoxProps {
  readonly end: End;
  readonly x: number;
  readonly label: string;
  readonly pressed: boolean;
  readonly press: () => void;
  readonly release?: () => void;
}

function Box({ end, x, label, pressed, press, release }: BoxProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a button cannot be part of a drawing
    <g
      class={`end${pressed ? " chosen" : ""}`}
      role="button"
      tabindex={0}
      aria-label={label}
      aria-pressed={pressed}
      onPointerDown={press}
      onPointerUp={release}
      onKeyDown={({ key }) => key === "Enter" && press()}
    >
      <rect x={x} y="3" width={BOX.width} height={BOX.height} rx="6" />
      <text class="board-name" x={x + 10} y="19">
        {shortened(end.id)}
      </text>
    </g>
  );
}

interface ArrowLineProps {
  readonly arrow: Arrow;
  readonly y1: number | undefined;
  readonly y2: number | undefined;
  readonly remove: (arrow: Arrow) => void;
}

function ArrowLine({ arrow, y1, y2, remove }: ArrowLineProps) {
  // What the header's filter hides is in the policy still.
  if (y1 === undefined || y2 === undefined) return null;
  const ports = arrow.ports || "all ports";
  const tip = `${TARGET_X - 8},${y2 - 5} ${TARGET_X},${y2} ${TARGET_X - 8},${y2 + 5}`;
  return (
    // biome-ignore lint/a11y/useSemanticElements: a button cannot be part of a drawing
    <g
      class="arrow"
      role="button"
      tabindex={0}
      aria-label={`remove ${arrow.from} to ${arrow.to}, ${ports}`}
      onClick={() => remove(arrow)}
      onKeyDown={({ key }) => (key === "Enter" || key === "Delete") && remove(arrow)}
    >
      <path d={`M${BOX.width},${y1} C${WIDTH / 2},${y1} ${WIDTH / 2},${y2} ${TARGET_X - 6},${y2}`} />
      <polygon points={tip} />
      <text class="board-ports" x={TARGET_X - 50} y={y2 - 6}>
        {ports}
      </text>
    </g>
  );
}

const MAX_NAME = 30;

function shortened(text: string): string {
  return text.length > MAX_NAME ? `${text.slice(0, MAX_NAME - 1)}…` : text;
}
