import { type LabelMatcher, readLabelSelector } from "#labels/selector-text.ts";
import type { Algorithm, Forwarding, FrontendType } from "./types.ts";

/** What a Service asks of the datapath by annotations, upstream's names. */
export interface ServiceAnnotations {
  readonly algorithm?: Algorithm | undefined;
  readonly forwarding?: Forwarding | undefined;
  /** Only this kind of address is served. */
  readonly onlyType?: FrontendType | undefined;
  readonly denySourceRanges: boolean;
  /** The nodes that have the service at all, by their labels; absent: all. */
  readonly nodes?: LabelMatcher | undefined;
  /** Names the annotation, what was found and what is allowed. */
  readonly problems: readonly string[];
}

const PREFIX = "service.cilium.io";
const NODE = `${PREFIX}/node`;
const NODE_SELECTOR = `${PREFIX}/node-selector`;

/** Annotations of upstream that are for other features, or that we do not have; whoever sets one is told. */
const KNOWN = ["lb-algorithm", "forwarding-mode", "type", "src-ranges-policy", "node", "node-selector"];

const NONE: ServiceAnnotations = { denySourceRanges: false, problems: [] };

/** Reads a Service's annotations. One that cannot be read is as if it were not there, and is told. */
export function parseAnnotations(annotations: Readonly<Record<string, string>> = {}): ServiceAnnotations {
  // Nearly all services have none.
  if (!Object.keys(annotations).some((name) => name.startsWith(PREFIX))) return NONE;
  const problems: string[] = [];
  const read = <Value extends string>(name: string, allowed: readonly Value[]): Value | undefined => {
    const text = annotations[`${PREFIX}/${name}`];
    if (text === undefined) return undefined;
    const found = allowed.find((value) => value.toLowerCase() === text.toLowerCase());
    if (found === undefined) problems.push(`metadata.annotations[${PREFIX}/${name}]: found "${text}", allowed are ${allowed.join(", ")}`);
    return found;
  };
  return {
    algorithm: read("lb-algorithm", ["random", "maglev"]),
    forwarding: read("forwarding-mode", ["snat", "dsr"]),
    onlyType: read("type", ["ClusterIP", "NodePort", "LoadBalancer"]),
    denySourceRanges: read("src-ranges-policy", ["allow", "deny"]) === "deny",
    nodes: nodesOf(annotations, problems),
    problems: [...problems, ...withoutEffect(annotations)],
  };
}

/** `node-selector` is a label selector and counts alone where both are given; one that cannot be read selects nothing, as upstream. */
function nodesOf(annotations: Readonly<Record<string, string>>, problems: string[]): LabelMatcher | undefined {
  const { [NODE]: value, [NODE_SELECTOR]: text } = annotations;
  if (text === undefined) return value === undefined ? undefined : (labels) => labels[NODE] === value;
  if (text.trim() === "") return () => true;
  const matcher = readLabelSelector(text);
  if (typeof matcher !== "string") return matcher;
  problems.push(`metadata.annotations[${NODE_SELECTOR}]: ${matcher}; no node has the service`);
  return () => false;
}

function withoutEffect(annotations: Readonly<Record<string, string>>): string[] {
  const ours = Object.keys(annotations).filter((name) => name.startsWith(`${PREFIX}/`));
  const others = ours.filter((name) => !KNOWN.includes(name.slice(PREFIX.length + 1)));
  return others.map((name) => `metadata.annotations[${name}]: has no effect here; those that have are ${KNOWN.join(", ")}`);
}
