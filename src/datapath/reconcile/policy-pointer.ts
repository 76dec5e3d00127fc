import { randomInt } from "node:crypto";
import type { PolicyConfig, PolicyEntry, PolicyKey } from "#datapath/gen/structs.ts";
import type { BpfMap, MapOfMaps } from "#ebpf/bpf.ts";
import type { Expedite } from "../expedite.ts";

/** A policy's entries: a trie that the endpoints of one subject share. */
export type InnerMap = BpfMap<PolicyKey, PolicyEntry>;

export interface PolicyKernel {
  /** cilium_policy: endpoint id → inner map. */
  readonly outer: MapOfMaps<number, PolicyKey, PolicyEntry>;
  /** cilium_policy_config: an array; generation 0 is no endpoint's. */
  readonly config: BpfMap<number, PolicyConfig>;
}

/** POLICY_AUDIT_ID of bpf/lib/policy_maps.h: beyond every endpoint's id. */
const AUDIT_ID = 0x10000;

/** The number under which the kernel finds what an endpoint's policy would be if nothing were audited. */
export function auditIdOf(endpointId: number): number {
  return endpointId | AUDIT_ID;
}

/** The endpoint that a number of the policy maps belongs to. */
export function endpointOfPolicyId(id: number): number {
  return id & ~AUDIT_ID;
}

/** What surrounds an endpoint's entries. */
export type EndpointConfig = Omit<PolicyConfig, "generation">;

/** What the kernel was given for an endpoint. */
export interface Pointed {
  /** Kernel-wide number of its inner map. */
  readonly innerId: number | undefined;
  readonly generation: number;
}

/** What the configuration map holds for a number that no endpoint has. */
const unconfigured: PolicyConfig = {
  generation: 0,
  ingressEnforced: 0,
  egressEnforced: 0,
  ingressDefaultDeny: 0,
  egressDefaultDeny: 0,
  audit: 0,
  ingressDefaultCookie: 0,
  egressDefaultCookie: 0,
};

/**
 * Points an endpoint at its map and writes its configuration. The new generation comes last, alone: what a packet of the same moment makes of
 * half a change is then judged again.
 */
export function pointEndpoint(
  { kernel, expedite }: { readonly kernel: PolicyKernel; readonly expedite: Expedite },
  id: number,
  inner: InnerMap,
  wanted: EndpointConfig,
): Pointed {
  const old = kernel.config.get(id) ?? unconfigured;
  const loosens = old.ingressEnforced > wanted.ingressEnforced || old.egressEnforced > wanted.egressEnforced;
  const configure = (generation: number) => kernel.config.set(id, { ...wanted, generation });
  // A policy that ends must not deny in between; one that begins is complete before it counts.
  if (loosens) configure(old.generation);
  expedite(() => kernel.outer.set(id, inner));
  if (!loosens) configure(old.generation);
  const generation = nextGeneration(old.generation);
  configure(generation);
  return { innerId: kernel.outer.innerId(id), generation };
}

/** Takes an id out of the kernel. What has a configuration has a map: it is pointed at one before, and loses it after. */
export function unpoint({ kernel, expedite }: { readonly kernel: PolicyKernel; readonly expedite: Expedite }, id: number): void {
  kernel.config.set(id, unconfigured);
  expedite(() => kernel.outer.delete(id));
}

/** Whether the kernel still has what an endpoint was given. */
export function isPointed(kernel: PolicyKernel, id: number, { innerId, generation }: Pointed, wanted: EndpointConfig): boolean {
  const config = kernel.config.get(id);
  return config?.generation === generation && sameConfig(config, wanted) && kernel.outer.innerId(id) === innerId;
}

/** Whether two configurations say the same, whatever their generations. */
export function sameConfig(a: EndpointConfig, b: EndpointConfig): boolean {
  return (Object.keys(unconfigured) as (keyof PolicyConfig)[]).every(
    (field) => field === "generation" || a[field as keyof EndpointConfig] === b[field as keyof EndpointConfig],
  );
}

/**
 * Zero never is a generation: it is what entries have that were never judged. A first one is random, so that connections of
 * an endpoint that had the same number before are not taken for judged.
 */
function nextGeneration(old: number): number {
  return ((old || randomInt(2 ** 32)) + 1) >>> 0 || 1;
}
