import type { MonitorEvent } from "./events.ts";

/** What `cilium-dbg monitor` was asked to show. Empty or absent: everything. Numbers are endpoint ids. */
export interface Selection {
  readonly types?: readonly string[] | undefined;
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly relatedTo?: number | undefined;
}

/** The selection as a predicate. Lost events always pass: a gap must be seen. */
export function selectEvents(selection: Selection): (event: MonitorEvent) => boolean {
  const types = new Set(selection.types ?? []);
  const { from, to, relatedTo } = selection;
  const anyEndpoint = from === undefined && to === undefined && relatedTo === undefined;
  return (event) => {
    if (event.type === "lost") return true;
    if (types.size > 0 && !types.has(event.type)) return false;
    if (anyEndpoint) return true;
    const ends = endpointsOf(event);
    return (
      (from !== undefined && ends.from === from) ||
      (to !== undefined && ends.to === to) ||
      (relatedTo !== undefined && (ends.from === relatedTo || ends.to === relatedTo))
    );
  };
}

function endpointsOf(event: MonitorEvent): { from: number; to: number } {
  switch (event.type) {
    case "drop":
    case "trace":
    case "policy-verdict":
      return event.direction === "ingress"
        ? { from: 0, to: event.destinationEndpointId || event.endpointId }
        : { from: event.endpointId, to: event.destinationEndpointId };
    case "l7":
      return event.access.direction === "ingress" ? { from: 0, to: event.access.endpointId } : { from: event.access.endpointId, to: 0 };
    default:
      return { from: 0, to: 0 };
  }
}
