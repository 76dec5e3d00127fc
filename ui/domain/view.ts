import { type Flow, isDenied, peerOf, requestText } from "./flow.ts";

/** What the user looks at: it is in the address, so that it can be sent to somebody. Times are milliseconds since 1970. */
export interface View {
  readonly page: "map" | "policies" | "editor";
  /** Empty: all. */
  readonly namespace: string;
  readonly verdict: "" | "forwarded" | "denied" | "audited";
  readonly text: string;
  /** A card's id; empty: none. */
  readonly peer: string;
  /** Key of the policy that is open; empty: none. */
  readonly policy: string;
  /** How far back, milliseconds, while live. */
  readonly window: number;
  /** A time in the past to look at, instead of live. */
  readonly since: number | undefined;
  readonly until: number | undefined;
}

export const DEFAULT_VIEW: View = {
  page: "map",
  namespace: "",
  verdict: "",
  text: "",
  peer: "",
  policy: "",
  window: 300_000,
  since: undefined,
  until: undefined,
};

/** In the order of the header. */
export const PAGES = ["map", "policies", "editor"] as const;
const VERDICTS = ["", "forwarded", "denied", "audited"] as const;

/** Reads an address's query; what makes no sense is left at its default. */
export function parseView(query: string): View {
  const params = new URLSearchParams(query);
  const text = (name: string) => params.get(name) ?? "";
  const time = (name: string) => (/^\d{1,15}$/.test(text(name)) ? Number(text(name)) : undefined);
  const [since, until] = [time("since"), time("until")];
  const past = since !== undefined && until !== undefined && since < until;
  return {
    page: PAGES.find((page) => page === text("page")) ?? DEFAULT_VIEW.page,
    namespace: text("namespace"),
    verdict: VERDICTS.find((verdict) => verdict === text("verdict")) ?? "",
    text: text("q"),
    peer: text("peer"),
    policy: text("policy"),
    window: time("window") || DEFAULT_VIEW.window,
    since: past ? since : undefined,
    until: past ? until : undefined,
  };
}

/** The inverse of `parseView`, with only what is not the default: `?namespace=demo`, or `/`. */
export function formatView(view: View): string {
  const params = new URLSearchParams();
  const names: Readonly<Record<keyof View, string>> = {
    page: "page",
    namespace: "namespace",
    verdict: "verdict",
    text: "q",
    peer: "peer",
    policy: "policy",
    window: "window",
    since: "since",
    until: "until",
  };
  for (const [field, name] of Object.entries(names)) {
    const value = view[field as keyof View];
    if (value !== DEFAULT_VIEW[field as keyof View] && value !== undefined) params.set(name, String(value));
  }
  const query = params.toString();
  return query === "" ? "/" : `/?${query}`;
}

/** Whether a flow is to be seen. */
export function wanted(view: View): (flow: Flow) => boolean {
  const words = view.text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  return (flow) =>
    (view.namespace === "" || flow.source?.namespace === view.namespace || flow.destination?.namespace === view.namespace) &&
    hasVerdict(flow, view.verdict) &&
    (view.peer === "" || peerOf(flow, "source").id === view.peer || peerOf(flow, "destination").id === view.peer) &&
    words.every((word) => searchText(flow).includes(word));
}

function hasVerdict(flow: Flow, verdict: View["verdict"]): boolean {
  if (verdict === "") return true;
  if (verdict === "denied") return isDenied(flow);
  return verdict === "audited" ? flow.verdict === "AUDIT" : !isDenied(flow) && flow.verdict !== "AUDIT";
}

function searchText(flow: Flow): string {
  const ends = (["source", "destination"] as const).flatMap((side) => [
    peerOf(flow, side).id,
    flow[side]?.pod_name ?? "",
    flow.IP?.[side] ?? "",
    ...(flow[side]?.labels ?? []),
  ]);
  return [...ends, flow.Summary ?? "", flow.drop_reason_desc ?? "", requestText(flow) ?? ""].join(" ").toLowerCase();
}

/** Namespaces of these flows, sorted. */
export function namespacesOf(flows: readonly Flow[]): string[] {
  const names = flows.flatMap(({ source, destination }) => [source?.namespace ?? "", destination?.namespace ?? ""]);
  return [...new Set(names)].filter((name) => name !== "").sort();
}
