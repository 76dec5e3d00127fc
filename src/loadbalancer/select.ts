import type { Backend, Frontend, Scope } from "./types.ts";

/** The node that chooses. */
export interface Place {
  readonly nodeName: string;
  readonly zone?: string | undefined;
}

/**
 * The backends that get new connections at a node: active ones; when there are none, terminating ones that still serve. With
 * traffic policy `Local` only those of this node; else those that are meant for this node or zone, if there are any.
 */
export function backendsFor(frontend: Frontend, scope: Scope, place: Place): readonly Backend[] {
  const { backends } = frontend;
  const policy = scope === "external" ? frontend.externalPolicy : frontend.internalPolicy;
  if (policy === "Local") return usable(backends.filter(({ nodeName }) => nodeName === place.nodeName));
  return near(usable(backends), place);
}

/** Whether clients outside the cluster get other backends than those inside. */
export function hasTwoScopes({ internalPolicy, externalPolicy }: Frontend): boolean {
  return internalPolicy !== externalPolicy;
}

function usable(backends: readonly Backend[]): readonly Backend[] {
  if (backends.every(({ state }) => state === "active")) return backends;
  const active = backends.filter(({ state }) => state === "active");
  return active.length > 0 ? active : backends.filter(({ state }) => state === "terminating");
}

/**
 * Hints count only when every backend has some and one of them is for us: half of them would overload a few (as kube-proxy). Hints
 * for nodes are narrower than hints for zones.
 */
function near(backends: readonly Backend[], { nodeName, zone }: Place): readonly Backend[] {
  if (backends.length === 0 || backends.some(({ hints }) => hints === undefined)) return backends;
  const ofNode = backends.filter(({ hints }) => hints?.nodes.includes(nodeName));
  if (ofNode.length > 0) return ofNode;
  const ofZone = zone === undefined ? [] : backends.filter(({ hints }) => hints?.zones.includes(zone));
  return ofZone.length > 0 ? ofZone : backends;
}
