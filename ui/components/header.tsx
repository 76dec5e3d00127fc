import type { FlowState } from "../data/flow-store.ts";
import { DEFAULT_VIEW, PAGES, type View } from "../domain/view.ts";

const WINDOWS: readonly (readonly [number, string])[] = [
  [60_000, "last minute"],
  [300_000, "last 5 minutes"],
  [3_600_000, "last hour"],
  [86_400_000, "last day"],
];

const TITLES: Readonly<Record<View["page"], string>> = { map: "Map", policies: "Policies", editor: "Editor" };

interface HeaderProps {
  readonly view: View;
  readonly change: (part: Partial<View>) => void;
  readonly namespaces: readonly string[];
  readonly state: FlowState;
  readonly paused: boolean;
  readonly setPaused: (paused: boolean) => void;
}

/** What is looked at, and whether it is live. */
export function Header({ view, change, namespaces, state, paused, setPaused }: HeaderProps) {
  const past = view.since !== undefined;
  const names = view.namespace === "" || namespaces.includes(view.namespace) ? namespaces : [view.namespace, ...namespaces];
  return (
    <header>
      <h1>Hubble</h1>
      <nav aria-label="Pages">
        {PAGES.map((page, index) => (
          <button
            type="button"
            key={page}
            aria-current={view.page === page ? "page" : undefined}
            title={`Key ${index + 1}`}
            onClick={() => change({ page })}
          >
            {TITLES[page]}
          </button>
        ))}
      </nav>
      <label>
        Namespace{" "}
        <select
          id="namespace"
          value={view.namespace}
          onChange={({ currentTarget }) => change({ namespace: currentTarget.value, peer: "" })}
        >
          <option value="">all</option>
          {names.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <label>
        Verdict{" "}
        <select
          id="verdict"
          value={view.verdict}
          onChange={({ currentTarget }) => change({ verdict: currentTarget.value as View["verdict"] })}
        >
          <option value="">all</option>
          <option>forwarded</option>
          <option>denied</option>
          <option>audited</option>
        </select>
      </label>
      <input
        id="search"
        type="search"
        placeholder="pod, label, address, path…  ( / )"
        aria-label="Search flows"
        value={view.text}
        onInput={({ currentTarget }) => change({ text: currentTarget.value })}
      />
      <select
        aria-label="How far back"
        value={past ? "past" : String(view.window)}
        onChange={({ currentTarget }) => change({ window: Number(currentTarget.value), since: undefined, until: undefined })}
      >
        {past && <option value="past">chosen time</option>}
        {WINDOWS.map(([window, text]) => (
          <option key={window} value={String(window)}>
            {text}
          </option>
        ))}
      </select>
      {past ? (
        <button type="button" onClick={() => change({ since: undefined, until: undefined })}>
          Back to live
        </button>
      ) : (
        <button type="button" id="pause" aria-pressed={paused} onClick={() => setPaused(!paused)} title="Space">
          {paused ? "Go on" : "Pause"}
        </button>
      )}
      {view.peer !== "" && (
        <button type="button" class="chip" onClick={() => change({ peer: DEFAULT_VIEW.peer })} title="Show all workloads (Escape)">
          only {view.peer.replace(/^:/, "")} ✕
        </button>
      )}
      <span id="connection" role="status" class={state.connection}>
        {statusText(state, paused)}
      </span>
    </header>
  );
}

function statusText({ connection, flows, lost, failure }: FlowState, paused: boolean): string {
  const losses = lost > 0 ? `, ${lost} events lost` : "";
  if (paused) return `paused, ${flows.length} flows${losses}`;
  if (connection === "lost") return `not connected, trying again${failure === "" ? "" : `: ${failure}`}`;
  return connection === "connecting" ? "connecting" : `${connection}, ${flows.length} flows${losses}`;
}
