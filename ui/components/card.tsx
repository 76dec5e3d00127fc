import { memo } from "preact/compat";
import { CARD, type PlacedCard } from "../domain/card-size.ts";
import type { Peer } from "../domain/flow.ts";
import { sortedPorts } from "../domain/layout.ts";
import { type Counts, outcome, type ServedPort } from "../domain/service-map.ts";

interface CardProps {
  readonly card: PlacedCard;
  readonly chosen: boolean;
  readonly choose: (peer: string) => void;
}

/** Characters that fit. */
const MAX_NAME = 23;
const MAX_REQUEST = 30;

/** A workload, or an end outside the cluster: its name, the ports it serves and what was asked there. */
export const Card = memo(function Card({ card: { node, x, y, height }, chosen, choose }: CardProps) {
  const { peer } = node;
  let top: number = CARD.header;
  const rows = sortedPorts(node).map((served) => {
    const row = <PortRow key={served.port} served={served} y={top} />;
    top += CARD.port + served.requests.size * CARD.request;
    return row;
  });
  return (
    // biome-ignore lint/a11y/useSemanticElements: a button cannot be part of a drawing
    <g
      class={`card ${peer.kind}${chosen ? " chosen" : ""}`}
      transform={`translate(${x},${y})`}
      role="button"
      tabindex={0}
      aria-pressed={chosen}
      aria-label={`${peer.name}${peer.namespace ? ` in ${peer.namespace}` : ""}: show only its flows`}
      onClick={() => choose(peer.id)}
      onKeyDown={({ key }) => key === "Enter" && choose(peer.id)}
    >
      <title>{peer.id.replace(/^:/, "")}</title>
      <rect width={CARD.width} height={height} rx="8" />
      <text class="name" x="12" y="19">
        {shortened(peer.name, MAX_NAME)}
      </text>
      <text class="where" x="12" y="35">
        {whereText(peer)}
      </text>
      {rows}
    </g>
  );
});

function PortRow({ served: { port, counts, requests }, y }: { readonly served: ServedPort; readonly y: number }) {
  return (
    <>
      <line x1="0" x2={CARD.width} y1={y} y2={y} />
      <circle cx="0" cy={y + CARD.port / 2} r="4" class={outcome(counts)} />
      <text class="port" x="12" y={y + 16}>
        {port}
      </text>
      <Numbers counts={counts} y={y + 16} />
      {[...requests].map(([request, asked], index) => (
        <g key={request} class={`request ${outcome(asked)}`}>
          <text x="20" y={y + CARD.port + 12 + index * CARD.request}>
            {shortened(request, MAX_REQUEST)}
          </text>
          <title>{request}</title>
        </g>
      ))}
    </>
  );
}

function Numbers({ counts: { forwarded, denied, audited }, y }: { readonly counts: Counts; readonly y: number }) {
  return (
    <text class="numbers" x={CARD.width - 10} y={y} text-anchor="end">
      {forwarded > 0 && <tspan class="forwarded">{forwarded} </tspan>}
      {audited > 0 && <tspan class="audited">{audited} audited </tspan>}
      {denied > 0 && <tspan class="denied">{denied} denied</tspan>}
    </text>
  );
}

function whereText({ kind, namespace }: Peer): string {
  if (kind === "service") return `${namespace}, service without backends`;
  return namespace || (kind === "world" ? "outside the cluster" : "reserved");
}

function shortened(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
