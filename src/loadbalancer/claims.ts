import type { Frontend, FrontendType } from "./types.ts";

/** What brought a frontend: a Service, a Pod's host ports or a CiliumLocalRedirectPolicy. */
export interface Owner {
  readonly kind: "Service" | "Pod" | "CiliumLocalRedirectPolicy";
  readonly namespace: string;
  readonly name: string;
  /** Of two that want the same address the older one has it. */
  readonly created: string;
  /** `Service demo/web`; nobody else's. */
  readonly text: string;
}

/** Who wants which address, and who has it. */
export interface Claims {
  /** Replaces all that an owner wants; an empty list releases it. Answers the addresses whose frontend may be another one now. */
  set(owner: Owner, frontends: readonly Frontend[]): ReadonlySet<string>;
  /** The frontend that has the address, by its text. */
  winner(address: string): Frontend | undefined;
  /** What the owner wants and does not get: `10.96.0.1:80/TCP is taken by Service demo/other`. */
  conflicts(owner: Owner): string[];
  /** Owners who want the address. */
  owners(address: string): readonly Owner[];
}

/**
 * An address that several have is given to the kind that cannot do without it, so that nobody takes over another's cluster address or, with
 * a node's address for a load balancer's, its node ports.
 */
const RANK: Readonly<Record<FrontendType, number>> = {
  LocalRedirect: 0,
  ClusterIP: 1,
  NodePort: 2,
  LoadBalancer: 3,
  ExternalIPs: 4,
  HostPort: 5,
};

interface Claim {
  readonly owner: Owner;
  readonly frontend: Frontend;
}

export function createClaims(): Claims {
  const byAddress = new Map<string, readonly Claim[]>();
  const byOwner = new Map<string, readonly string[]>();

  const release = (address: string, owner: string) => {
    const left = (byAddress.get(address) ?? []).filter((claim) => claim.owner.text !== owner);
    if (left.length > 0) byAddress.set(address, left);
    else byAddress.delete(address);
  };
  return {
    set(owner, frontends) {
      const key = owner.text;
      const touched = new Set(byOwner.get(key));
      for (const address of touched) release(address, key);
      const own: string[] = [];
      for (const frontend of frontends) {
        const address = frontend.address.text;
        touched.add(address);
        own.push(address);
        const others = byAddress.get(address)?.filter((claim) => claim.owner.text !== key) ?? [];
        byAddress.set(address, others.length === 0 ? [{ owner, frontend }] : [...others, { owner, frontend }].sort(compare));
      }
      if (own.length > 0) byOwner.set(key, own);
      else byOwner.delete(key);
      return touched;
    },
    winner: (address) => winnerOf(byAddress.get(address) ?? [])?.frontend,
    conflicts: (owner) => {
      return (byOwner.get(owner.text) ?? []).flatMap((address) => {
        const winner = winnerOf(byAddress.get(address) ?? []);
        if (winner === undefined || winner.owner.text === owner.text || winner.frontend.type === "LocalRedirect") return [];
        return [`${address} is taken by ${winner.owner.text}`];
      });
    },
    owners: (address) => (byAddress.get(address) ?? []).map(({ owner }) => owner),
  };
}

/** A redirect never takes an address that a Service of another namespace has. */
function winnerOf(claims: readonly Claim[]): Claim | undefined {
  if (claims.length <= 1) return claims[0];
  return claims.find(
    ({ owner, frontend }) =>
      frontend.type !== "LocalRedirect" ||
      claims.every((other) => other.owner.kind !== "Service" || other.owner.namespace === owner.namespace),
  );
}

function compare(a: Claim, b: Claim): number {
  const rank = RANK[a.frontend.type] - RANK[b.frontend.type];
  if (rank !== 0) return rank;
  if (a.owner.created !== b.owner.created) return a.owner.created < b.owner.created ? -1 : 1;
  return a.owner.text < b.owner.text ? -1 : 1;
}
