/** What decides whether services may have one address together. */
export interface Sharer {
  readonly namespace: string;
  /** Empty: it shares with nobody. */
  readonly sharingKey: string;
  /** Namespaces whose services it shares with; `*` for all. */
  readonly sharingNamespaces: readonly string[];
  readonly ports: ReadonlySet<string>;
  readonly externalPolicy: "Cluster" | "Local";
  /** Its selector as text, equal for equal ones; empty without one. */
  readonly selector: string;
}

/** Why not; undefined when they may. */
export function unshareable(a: Sharer, b: Sharer): string | undefined {
  if (a.sharingKey === "" || a.sharingKey !== b.sharingKey) return "different sharing key";
  if (!allows(a, b) || !allows(b, a)) return "different and not permitted namespace";
  if ([...a.ports].some((port) => b.ports.has(port))) return "same port and protocol";
  if (a.externalPolicy !== b.externalPolicy) return "different externalTrafficPolicy";
  // The address is announced by one node: with Local that must have backends of both.
  if (a.externalPolicy === "Local" && (a.selector === "" || a.selector !== b.selector))
    return "externalTrafficPolicy Local, but not the same pods";
  return undefined;
}

function allows({ sharingNamespaces }: Sharer, { namespace }: Sharer): boolean {
  return sharingNamespaces.includes("*") || sharingNamespaces.includes(namespace);
}
