import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { type FlowState, openFlows } from "../data/flow-store.ts";
import { NO_DRAFT, written } from "../domain/draw.ts";
import type { Flow } from "../domain/flow.ts";
import { buildServiceMap } from "../domain/service-map.ts";
import { DEFAULT_VIEW, formatView, namespacesOf, PAGES, parseView, type View, wanted } from "../domain/view.ts";
import { Details } from "./details.tsx";
import { Editor } from "./editor.tsx";
import { FlowTable } from "./flow-table.tsx";
import { Header } from "./header.tsx";
import { MapView } from "./map-view.tsx";
import { Policies } from "./policies.tsx";
import { Timeline } from "./timeline.tsx";

/** A flow, or an edge by its id: then the newest flow that was stopped there, also when a newer one comes. */
export type Selected = Flow | string;

const NOTHING: FlowState = { flows: [], connection: "connecting", lost: 0, failure: "" };

/** The whole page: one view, kept in the address. */
export function App() {
  const [view, change] = useView();
  const [paused, setPaused] = useState(false);
  const state = useFlows(view, paused);
  const [selected, select] = useState<Selected | undefined>();
  const namespaces = useMemo(() => namespacesOf(state.flows), [state.flows]);
  const shown = useMemo(() => state.flows.filter(wanted(view)), [state.flows, view]);
  const map = useMemo(() => buildServiceMap(shown), [shown]);
  const flow = typeof selected === "string" ? map.edges.get(selected)?.lastDenied : selected;
  const [draft, setDraft] = useState(NO_DRAFT);
  const edit = useCallback(
    (text: string) => {
      setDraft(written(text));
      change({ page: "editor" });
    },
    [change],
  );
  useKeys(change, setPaused, select);
  return (
    <>
      <Header view={view} change={change} namespaces={namespaces} state={state} paused={paused} setPaused={setPaused} />
      {view.page === "map" && <Timeline flows={shown} view={view} change={change} />}
      <main>
        {view.page === "policies" && <Policies view={view} change={change} edit={edit} />}
        {view.page === "editor" && <Editor view={view} draft={draft} setDraft={setDraft} />}
        {view.page === "map" && <MapView map={map} view={view} change={change} select={select} state={state} />}
        {view.page === "map" && <FlowTable flows={shown} selected={flow} select={select} />}
        {view.page === "map" && flow && <Details flow={flow} close={() => select(undefined)} edit={edit} />}
      </main>
    </>
  );
}

/** The view and how to change part of it; the address follows, and the browser's back button leads back. */
function useView(): [View, (part: Partial<View>) => void] {
  const [view, setView] = useState(() => parseView(location.search));
  useEffect(() => {
    const read = () => setView(parseView(location.search));
    addEventListener("popstate", read);
    return () => removeEventListener("popstate", read);
  }, []);
  const change = useCallback((part: Partial<View>) => {
    setView((before) => {
      const after = { ...before, ...part };
      const address = formatView(after);
      if (address !== formatView(before)) history.pushState(null, "", address);
      return after;
    });
  }, []);
  return [view, change];
}

function useFlows({ window, since, until, namespace }: View, paused: boolean): FlowState {
  const [state, setState] = useState(NOTHING);
  useEffect(() => {
    if (paused) return;
    setState((before) => ({ ...before, connection: "connecting" }));
    const query = since !== undefined && until !== undefined ? { since, until, namespace } : { since: Date.now() - window, namespace };
    const flows = openFlows(query, setState);
    return () => flows.close();
  }, [window, since, until, namespace, paused]);
  return state;
}

/** `/` to search, 1 to 3 for the pages, Space to pause, Escape to close what is open. */
function useKeys(
  change: (part: Partial<View>) => void,
  setPaused: (set: (paused: boolean) => boolean) => void,
  select: (flow: undefined) => void,
): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLElement && /^(INPUT|SELECT|TEXTAREA|BUTTON)$/.test(event.target.tagName);
      if (event.key === "Escape") {
        select(undefined);
        change({ peer: DEFAULT_VIEW.peer, policy: DEFAULT_VIEW.policy });
      } else if (event.key === "/" && !typing) {
        event.preventDefault();
        document.getElementById("search")?.focus();
      } else if (!typing && PAGES[Number(event.key) - 1]) {
        change({ page: PAGES[Number(event.key) - 1] ?? "map" });
      } else if (event.key === " " && !typing) {
        event.preventDefault();
        setPaused((paused) => !paused);
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [change, setPaused, select]);
}
