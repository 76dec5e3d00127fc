import { deniedBy, type Flow, isDenied, peerOf, portOf, requestText, type Side } from "../domain/flow.ts";

interface FlowTableProps {
  readonly flows: readonly Flow[];
  readonly selected: Flow | undefined;
  readonly select: (flow: Flow) => void;
}

/** Rows drawn: the newest. */
const SHOWN = 200;

/** The newest flows; a row opens its details. */
export function FlowTable({ flows, selected, select }: FlowTableProps) {
  const shown = flows.slice(-SHOWN).reverse();
  return (
    <section class="flows" aria-label="Flows">
      <table>
        <thead>
          <tr>
            <th>Time</th>
            <th>Source</th>
            <th>Destination</th>
            <th>Verdict</th>
            <th>Details</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((flow) => (
            <FlowRow key={flow.uuid ?? `${flow.time}${flow.Summary}`} flow={flow} selected={flow === selected} select={select} />
          ))}
        </tbody>
      </table>
      {flows.length > SHOWN && (
        <p class="more">
          The newest {SHOWN} of {flows.length} flows. Filters find the others.
        </p>
      )}
    </section>
  );
}

function FlowRow({ flow, selected, select }: { readonly flow: Flow; readonly selected: boolean; readonly select: (flow: Flow) => void }) {
  const denied = isDenied(flow);
  return (
    <tr
      class={selected ? "selected" : ""}
      tabIndex={0}
      onClick={() => select(flow)}
      onKeyDown={({ key }) => key === "Enter" && select(flow)}
    >
      <td class="time">{(flow.time ?? "").slice(11, 23)}</td>
      <td>{endText(flow, "source")}</td>
      <td>{endText(flow, "destination")}</td>
      <td class={denied ? "denied" : flow.verdict === "AUDIT" ? "audited" : "forwarded"}>{(flow.verdict ?? "").toLowerCase()}</td>
      <td>
        {requestText(flow) ?? flow.Summary ?? ""}
        {denied && <span class="why"> {deniedBy(flow).join(", ") || flow.drop_reason_desc}</span>}
      </td>
    </tr>
  );
}

function endText(flow: Flow, side: Side): string {
  const port = portOf(flow, side);
  const { namespace, name } = peerOf(flow, side);
  return `${namespace ? `${namespace}/` : ""}${name}${port ? `:${port}` : ""}`;
}
