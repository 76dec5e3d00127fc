import { hostPrefix, type Prefix, parsePrefix, prefixContains } from "#types/prefix.ts";
import type { Rule } from "../rule.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { kept } from "./once.ts";

type Range = { readonly prefix: Prefix; readonly what: string; readonly kind: "pods" | "nodes" | "services" };

/** Address blocks that reach into the cluster's own ranges, where blocks match nothing. */
export function* lintBlocks(world: World): Generator<Finding> {
  const ranges = rangesOf(world).filter(({ kind }) => !world.settings.policyCidrMatchMode.some((mode) => mode === kind));
  const near = new Map<Prefix, Near>();
  const nearOf = (within: Prefix) => kept(near, within, () => nearest(within, ranges));
  for (const rule of world.policies.flatMap(({ parsed }) => parsed.rules)) {
    for (const within of new Set(rule.peers.flatMap((peer) => peer.within ?? []))) yield* overlapping(rule, within, nearOf(within));
  }
}

/** The range that a block is in, or else one that is in the block. */
type Near = { readonly inside: Range | undefined; readonly range: Range | undefined };

function nearest(within: Prefix, ranges: readonly Range[]): Near {
  const inside = ranges.find(({ prefix }) => prefixContains(prefix, within));
  return { inside, range: inside ?? ranges.find(({ prefix }) => prefixContains(within, prefix)) };
}

function* overlapping(rule: Rule, within: Prefix, { inside, range }: Near): Generator<Finding> {
  if (range === undefined) return;
  const ofNodes = "name nodes by `host` and `remote-node`, or set policy-cidr-match-mode: nodes";
  const fix = range.kind === "nodes" ? ofNodes : "select pods by their labels";
  const at = { id: "L04", policy: rule.policy, rule: rule.origin, fix } as const;
  if (inside !== undefined) {
    const is = inside.prefix === within ? "is" : "is in";
    yield { ...at, severity: "warning", message: `${within} ${is} ${inside.what}: blocks never match ${inside.kind}` };
  }
  if (inside === undefined)
    yield {
      ...at,
      severity: "info",
      message: `${within} has ${range.what} in it, but blocks never match ${range.kind}: only what is outside is meant`,
    };
}

function rangesOf({ nodes, services, endpoints }: World): Range[] {
  const ofPods = nodes.flatMap(({ name, podCidrs }) =>
    podCidrs
      .map(parsePrefix)
      .flatMap((prefix): Range[] => (prefix === undefined ? [] : [{ prefix, what: `the pod CIDR of node ${name}`, kind: "pods" }])),
  );
  const ofNodes = nodes.flatMap(({ name, addresses }) =>
    addresses.map((one): Range => ({ prefix: hostPrefix(one), what: `the address of node ${name}`, kind: "nodes" })),
  );
  const ofServices = services.flatMap(({ namespace, name, addresses }) =>
    addresses.map((one): Range => ({ prefix: hostPrefix(one), what: `the address of service ${namespace}/${name}`, kind: "services" })),
  );
  const single = endpoints.flatMap(({ namespace, name, addresses }) =>
    addresses.map((one): Range => ({ prefix: hostPrefix(one), what: `the address of pod ${namespace}/${name}`, kind: "pods" })),
  );
  return [...ofPods, ...ofNodes, ...single, ...ofServices];
}
