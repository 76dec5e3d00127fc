import type { Frontend, FrontendType, ServiceName } from "./types.ts";

/** What brought a frontend: a Service, a Pod's host ports or a CiliumLocalRedirectPolicy. */
export interface Owner {
  readonly kind: "Service" | "Pod" | "CiliumLocalRedirectPolicy";
  readonly name: ServiceName;
  /** Of two that want the same address the older one has it. */
  readonly created: string;
}

/** Who wants which address, and who has it. */
export interface Claims {
  /** Replaces all that an owner wants; an empty list releases it. */
  set(owner: Owner, frontends: readonly Frontend[]): void;
  /** What the owner wants. */
  of(owner: Owner): readonly Frontend[];
  /** The frontend that has the address, by its text. */
  winner(address: string): Frontend | undefined;
  /** What the owner wants and does not get: `10.96.0.1:80/TCP is taken by Service demo/other`. */
  conflicts(owner: Owner): string[];
  /** Owners who want the address. */
  owners(address: string): readonly Owner[];
}

export function isSameOwner(a: Owner, b: Owner): boolean {
  return a.kind === b.kind && a.name.text === b.name.text;
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
  const byName: Readonly<Record<Owner["kind"], Map<string, readonly Frontend[]>>> = {
    Service: new Map(),
    Pod: new Map(),
    CiliumLocalRedirectPolicy: new Map(),
  };
  const of = ({ kind, name }: Owner) => byName[kind].get(name.text) ?? NOTHING;
  const claimsOfOthers = (address: string, owner: Owner) =>
    byAddress.get(address)?.filter((claim) => !isSameOwner(claim.owner, owner)) ?? NOTHING;
  return {
    of,
    set(owner, frontends) {
      for (const { address } of of(owner)) {
        const left = claimsOfOthers(address.text, owner);
        if (left.length > 0) byAddress.set(address.text, left);
        else byAddress.delete(address.text);
      }
      for (const frontend of frontends) {
        const others = claimsOfOthers(frontend.address.text, owner);
        byAddress.set(frontend.address.text, others.length === 0 ? [{ owner, frontend }] : [...others, { owner, frontend }].sort(compare));
      }
      if (frontends.length > 0) byName[owner.kind].set(owner.name.text, frontends);
      else byName[owner.kind].delete(owner.name.text);
    },
    winner: (address) => winnerOf(byAddress.get(address) ?? NOTHING)?.frontend,
    conflicts: (owner) => {
      const found: string[] = [];
      for (const { address } of of(owner)) {
        const winner = winnerOf(byAddress.get(address.text) ?? NOTHING);
        if (winner === undefined || isSameOwner(winner.owner, owner) || winner.frontend.type === "LocalRedirect") continue;
        found.push(`${address.text} is taken by ${winner.owner.kind} ${winner.owner.name.text}`);
      }
      return found;
    },
    owners: (address) => byAddress.get(address)?.map(({ owner }) => owner) ?? NOTHING,
  };
}

const NOTHING: readonly never[] = [];

/** A redirect never takes an address that a Service of another namespace has. */
function winnerOf(claims: readonly Claim[]): Claim | undefined {
  if (claims.length <= 1) return claims[0];
  return claims.find(
    ({ owner, frontend }) =>
      frontend.type !== "LocalRedirect" ||
      claims.every((other) => other.owner.kind !== "Service" || other.owner.name.namespace === owner.name.namespace),
  );
}

function ownerText({ owner }: Claim): string {
  return `${owner.kind} ${owner.name.text}`;
}

function compare(a: Claim, b: Claim): number {
  const rank = RANK[a.frontend.type] - RANK[b.frontend.type];
  if (rank !== 0) return rank;
  if (a.owner.created !== b.owner.created) return a.owner.created < b.owner.created ? -1 : 1;
  return ownerText(a) < ownerText(b) ? -1 : 1;
}
