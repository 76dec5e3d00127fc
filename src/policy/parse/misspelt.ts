import { objectOf, textOf } from "./fields.ts";
import { policyKinds } from "./parse.ts";
import { didYouMean } from "./reading.ts";

const groups = /^(cilium\.io|networking\.k8s\.io|policy\.networking\.k8s\.io)\/|^$/;
/** Cilium's kinds that are policies of something else than who may talk to whom. */
const others: readonly string[] = ["CiliumLocalRedirectPolicy", "CiliumEgressGatewayPolicy", "CiliumBGPPeeringPolicy"];

/**
 * What is wrong with the kind of an object that seems to be meant as a network policy; undefined for policies and for what is clearly none. Kinds
 * of other projects may have names like ours, so the API group counts too.
 */
export function misspeltKind(object: unknown): string | undefined {
  const fields = objectOf(object);
  const [kind, version] = [textOf(fields.kind), textOf(fields.apiVersion)];
  if (policyKinds.includes(kind) || others.includes(kind)) return undefined;
  const near = didYouMean(kind, policyKinds);
  const isPolicy = version.startsWith("cilium.io/") && /polic|polcy/i.test(kind);
  return isPolicy || (near !== "" && groups.test(version)) ? `found "${kind}", allowed are ${policyKinds.join(", ")}${near}` : undefined;
}
