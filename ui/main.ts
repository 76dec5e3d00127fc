import { addToEdges, deniedBy, type Edge, type Flow, inNamespace, peerName } from "./flow.ts";

/** Flows kept on the page. */
const KEPT = 500;

const byId = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const namespaceFilter = byId<HTMLSelectElement>("namespace");
const verdictFilter = byId<HTMLSelectElement>("verdict");
const pause = byId<HTMLButtonElement>("pause");
const connection = byId("connection");

const flows: Flow[] = [];
let dirty = false;
let paused = false;

/** A row of cells; text only, since flows carry what strangers sent. */
function row(cells: readonly (string | Node)[], classes: readonly string[] = []): HTMLTableRowElement {
  const line = document.createElement("tr");
  for (const [index, cell] of cells.entries()) {
    const data = document.createElement("td");
    data.append(cell);
    if (classes[index]) data.className = classes[index];
    line.append(data);
  }
  return line;
}

function port(flow: Flow, side: "source_port" | "destination_port"): string {
  const value = (flow.l4?.TCP ?? flow.l4?.UDP)?.[side];
  return value ? `:${value}` : "";
}

function details(flow: Flow): Node {
  const cell = document.createDocumentFragment();
  cell.append(flow.Summary ?? "");
  const why = deniedBy(flow);
  if (why) {
    const line = document.createElement("span");
    line.className = "why";
    line.textContent = `denied by ${why}`;
    cell.append(line);
  }
  return cell;
}

function flowRow(flow: Flow): HTMLTableRowElement {
  const verdict = flow.verdict ?? "";
  const cells = [
    (flow.time ?? "").slice(11, 23),
    `${peerName(flow, "source")}${port(flow, "source_port")}`,
    `${peerName(flow, "destination")}${port(flow, "destination_port")}`,
    flow.l7 ? "L7" : (flow.drop_reason_desc ?? "L3/L4"),
    verdict,
    details(flow),
  ];
  return row(cells, ["", "", "", "", verdict.toLowerCase()]);
}

function draw(): void {
  const shown = flows.filter(
    (flow) => inNamespace(flow, namespaceFilter.value) && (verdictFilter.value === "" || flow.verdict === verdictFilter.value),
  );
  const edges = new Map<string, Edge>();
  for (const flow of shown) addToEdges(edges, flow);
  const number = ["", "", "", "", "number forwarded", "number dropped"];
  const edgeRows = [...edges.values()].map((edge) =>
    row([edge.source, edge.destination, edge.port, [...edge.http].join(", "), String(edge.forwarded), String(edge.dropped)], number),
  );
  byId("edges").replaceChildren(...edgeRows);
  byId("flows").replaceChildren(...shown.slice(-200).reverse().map(flowRow));
  byId("empty").hidden = shown.length > 0;
}

function addNamespaces(flow: Flow): void {
  for (const name of [flow.source?.namespace, flow.destination?.namespace]) {
    if (!name || [...namespaceFilter.options].some((option) => option.value === name)) continue;
    namespaceFilter.append(new Option(name, name));
  }
}

const wanted = new URLSearchParams(location.search).get("namespace");
if (wanted) namespaceFilter.append(new Option(wanted, wanted, true, true));
for (const filter of [namespaceFilter, verdictFilter]) filter.addEventListener("change", draw);
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Go on" : "Pause";
});

const source = new EventSource("/api/flows");
source.addEventListener("open", () => {
  connection.textContent = "live";
});
source.addEventListener("error", () => {
  connection.textContent = "not connected, trying again";
});
source.addEventListener("message", ({ data }) => {
  if (paused) return;
  const flow = (JSON.parse(String(data)) as { readonly flow?: Flow }).flow;
  if (!flow) return;
  flows.push(flow);
  if (flows.length > KEPT) flows.splice(0, flows.length - KEPT);
  addNamespaces(flow);
  dirty = true;
});
setInterval(() => {
  if (dirty) draw();
  dirty = false;
}, 500);
draw();
