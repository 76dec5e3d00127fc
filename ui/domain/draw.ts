import { labelLines, quoted, selectorLabels } from "./allow.ts";

/** Something that an arrow may come from or go to: a workload, or all of what is outside the cluster. */
export interface End {
  readonly id: string;
  /** Empty for the world. */
  readonly namespace: string;
  readonly name: string;
  /** `k8s:app=web`. */
  readonly labels: readonly string[];
}

/** An arrow: who may open connections to whom. */
export interface Arrow {
  readonly from: string;
  readonly to: string;
  /** `80/TCP, 53/UDP`; empty: all. */
  readonly ports: string;
}

/** A policy in the making: the text, and what of it was drawn since it was last written by hand. */
export interface Draft {
  readonly text: string;
  /** What stands before the drawn policies. */
  readonly base: string;
  readonly arrows: readonly Arrow[];
}

export const WORLD: End = { id: "world", namespace: "", name: "world", labels: [] };
export const NO_DRAFT: Draft = { text: "", base: "", arrows: [] };

/** A text written, pasted or opened: drawing goes on after it. */
export function written(text: string): Draft {
  return { text, base: text, arrows: [] };
}

/** The draft with these arrows instead of those it has. */
export function drawn({ base }: Draft, arrows: readonly Arrow[], ends: ReadonlyMap<string, End>): Draft {
  const policies = policiesOf(arrows, ends);
  return { text: [...(base.trim() === "" ? [] : [base.replace(/\n*$/, "\n")]), ...policies].join("---\n"), base, arrows };
}

/** Why there cannot be an arrow between these; undefined when there can. */
export function refusal(from: End, to: End): string | undefined {
  if (from.namespace === "" && to.namespace === "") return "one end must be a workload";
  const nameless = [from, to].find((end) => end.namespace !== "" && selectorLabels(end).length === 0);
  return nameless && `${nameless.id} has no label that would select it`;
}

/** What is wrong with a list of ports, in words; undefined when nothing is. */
export function portProblem(ports: string): string | undefined {
  const wrong = portsOf(ports).find((port) => portOf(port) === undefined);
  return wrong && `"${wrong}" is no port: 80/TCP, 8000-8080/TCP or 53/UDP`;
}

const MAX_PORT = 65535;
const PORT = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(TCP|UDP|SCTP))?$/i;

function portsOf(ports: string): string[] {
  return ports.split(/[\s,]+/).filter((port) => port !== "");
}

function portOf(text: string): { readonly port: string; readonly end: string; readonly protocol: string } | undefined {
  const [, port, end = "", protocol = "TCP"] = PORT.exec(text) ?? [];
  if (port === undefined || Number(port) < 1 || Number(port) > MAX_PORT) return undefined;
  if (end !== "" && (Number(end) < Number(port) || Number(end) > MAX_PORT)) return undefined;
  return { port, end, protocol: protocol.toUpperCase() };
}

// One policy for each workload that is called, and for each that calls the world.
function policiesOf(arrows: readonly Arrow[], ends: ReadonlyMap<string, End>): string[] {
  const rules = new Map<string, { readonly subject: End; readonly direction: "ingress" | "egress"; readonly lines: string[] }>();
  for (const { from, to, ports } of arrows) {
    const [source, target] = [ends.get(from), ends.get(to)];
    if (source === undefined || target === undefined || refusal(source, target) !== undefined) continue;
    const direction = target.namespace === "" ? "egress" : "ingress";
    const [subject, peer] = direction === "ingress" ? [target, source] : [source, target];
    const key = `${direction} ${subject.id}`;
    const policy = rules.get(key) ?? { subject, direction, lines: [] };
    rules.set(key, policy);
    policy.lines.push(...ruleLines(subject, peer, direction, ports));
  }
  return [...rules.values()].map(({ subject, direction, lines }) =>
    [
      "apiVersion: cilium.io/v2",
      "kind: CiliumNetworkPolicy",
      "metadata:",
      `  name: ${quoted(`${subject.name}-${direction}`)}`,
      `  namespace: ${quoted(subject.namespace)}`,
      "spec:",
      "  endpointSelector:",
      "    matchLabels:",
      ...labelLines(subject, subject.namespace).map((line) => `      ${line}`),
      `  ${direction}:`,
      ...lines,
      "",
    ].join("\n"),
  );
}

function ruleLines(subject: End, peer: End, direction: "ingress" | "egress", ports: string): string[] {
  const way = direction === "ingress" ? "from" : "to";
  const who =
    peer.namespace === ""
      ? [`  - ${way}Entities:`, "    - world"]
      : [`  - ${way}Endpoints:`, "    - matchLabels:", ...labelLines(peer, subject.namespace).map((line) => `        ${line}`)];
  const allowed = portsOf(ports).flatMap((text) => portOf(text) ?? []);
  if (allowed.length === 0) return who;
  const list = allowed.flatMap(({ port, end, protocol }) => [
    `      - port: "${port}"`,
    ...(end === "" ? [] : [`        endPort: ${end}`]),
    `        protocol: ${protocol}`,
  ]);
  return [...who, "    toPorts:", "    - ports:", ...list];
}
