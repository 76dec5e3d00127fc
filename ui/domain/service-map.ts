import { clientSide, type Flow, isDenied, isSocketStep, type Peer, peerOf, requestText, servedPort, serverSide } from "./flow.ts";

/** Flows by outcome. */
export interface Counts {
  forwarded: number;
  denied: number;
  audited: number;
}

/** A port that a card offers, with what was asked there. */
export interface ServedPort {
  readonly port: string;
  readonly counts: Counts;
  /** `GET /get` → outcomes; at most `MAX_REQUESTS` of them. */
  readonly requests: Map<string, Counts>;
}

export interface MapNode {
  readonly peer: Peer;
  readonly ports: Map<string, ServedPort>;
}

export interface MapEdge {
  readonly id: string;
  readonly source: string;
  readonly destination: string;
  readonly port: string;
  readonly counts: Counts;
  /** The newest flow that was stopped, which has the explanation. */
  lastDenied: Flow | undefined;
}

export interface ServiceMap {
  readonly nodes: Map<string, MapNode>;
  readonly edges: Map<string, MapEdge>;
}

/** Rows a port shows; a page of paths is no map. */
export const MAX_REQUESTS = 6;
/** Ends in the world that are shown one by one; the rest is one card. */
const MAX_WORLD = 30;

/** Who talks to whom, of these flows. */
export function buildServiceMap(flows: readonly Flow[]): ServiceMap {
  const map: ServiceMap = { nodes: new Map(), edges: new Map() };
  for (const flow of flows) addFlow(map, flow);
  return map;
}

function addFlow(map: ServiceMap, flow: Flow): void {
  const port = servedPort(flow);
  if (port === "" || isSocketStep(flow)) return;
  const source = nodeOf(map, peerOf(flow, clientSide(flow)));
  const destination = nodeOf(map, peerOf(flow, serverSide(flow)));
  const served = getOrMake(destination.ports, port, () => ({ port, counts: noCounts(), requests: new Map<string, Counts>() }));
  const id = `${source.peer.id} ${destination.peer.id} ${port}`;
  const edge = getOrMake(map.edges, id, () => ({
    id,
    source: source.peer.id,
    destination: destination.peer.id,
    port,
    counts: noCounts(),
    lastDenied: undefined,
  }));
  count(edge.counts, flow);
  count(served.counts, flow);
  if (isDenied(flow)) edge.lastDenied = flow;
  const request = requestText(flow);
  if (request === undefined) return;
  if (served.requests.has(request) || served.requests.size < MAX_REQUESTS) count(getOrMake(served.requests, request, noCounts), flow);
}

function nodeOf({ nodes }: ServiceMap, peer: Peer): MapNode {
  const known = nodes.get(peer.id);
  if (known) return known;
  const worlds = peer.kind === "world" ? [...nodes.values()].filter((node) => node.peer.kind === "world").length : 0;
  const shown = worlds >= MAX_WORLD ? { ...peer, id: ":more of the world", name: "more of the world" } : peer;
  return getOrMake(nodes, shown.id, () => ({ peer: shown, ports: new Map<string, ServedPort>() }));
}

function noCounts(): Counts {
  return { forwarded: 0, denied: 0, audited: 0 };
}

function count(counts: Counts, flow: Flow): void {
  if (isDenied(flow)) counts.denied++;
  else if (flow.verdict === "AUDIT") counts.audited++;
  else counts.forwarded++;
}

function getOrMake<T>(map: Map<string, T>, key: string, make: () => T): T {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  map.set(key, made);
  return made;
}

/** `denied` when nothing passed, `mixed` when something did; for colours. */
export function outcome({ forwarded, denied, audited }: Counts): "forwarded" | "mixed" | "denied" | "audited" {
  if (denied > 0) return forwarded > 0 ? "mixed" : "denied";
  return audited > 0 ? "audited" : "forwarded";
}
