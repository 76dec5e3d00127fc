import type { Algorithm, Forwarding, FrontendType } from "./types.ts";

/** What a Service asks of the datapath by annotations, upstream's names. */
export interface ServiceAnnotations {
  readonly algorithm?: Algorithm | undefined;
  readonly forwarding?: Forwarding | undefined;
  /** Only this kind of address is served. */
  readonly onlyType?: FrontendType | undefined;
  readonly denySourceRanges: boolean;
  /** Served on nodes only whose label of the same name has this value. */
  readonly node?: string | undefined;
  /** Names the annotation, what was found and what is allowed. */
  readonly problems: readonly string[];
}

export const NODE_ANNOTATION = "service.cilium.io/node";

const PREFIX = "service.cilium.io";

/** Reads a Service's annotations. One that cannot be read is as if it were not there, and is told. */
export function parseAnnotations(annotations: Readonly<Record<string, string>> = {}): ServiceAnnotations {
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
    node: annotations[NODE_ANNOTATION],
    problems,
  };
}
