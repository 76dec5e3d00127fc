import type { Lookup } from "#policy/world/cases.ts";
import { parseAddress } from "#types/addr.ts";
import { type AskOptions, askAgents } from "./agents.ts";
import type { LookupShape } from "./fqdn.ts";
import type { EndpointShape } from "./shapes.ts";

/** What the pods of all nodes have resolved, and may be reached by that. Rejects when no agent answers. */
export async function podLookups(options: AskOptions): Promise<Lookup[]> {
  const answers = await askAgents<LookupShape[]>("/v1/fqdn/cache", { ...options, everywhere: true });
  // What is kept for a connection alone begins no other.
  const lookups = answers.flatMap(({ value }) => value).filter(({ source, fqdn }) => source !== "connection" && fqdn !== "");
  return lookups.map(({ pod = "", fqdn, ips }) => ({
    ...{ pod, name: fqdn.replace(/\.$/, "") },
    addresses: ips.map(parseAddress).filter((one) => one !== undefined),
  }));
}

/** Pods (`namespace/name`) that their agents have in audit mode, for whatever reason. Rejects when no agent answers. */
export async function auditedPods(options: AskOptions): Promise<Set<string>> {
  const answers = await askAgents<EndpointShape[]>("/v1/endpoint", { ...options, everywhere: true });
  const audited = answers.flatMap(({ value }) => value).filter(({ spec }) => spec?.options?.PolicyAuditMode === "Enabled");
  const names = audited.map(({ status }) => status?.["external-identifiers"]);
  return new Set(names.map((one) => `${one?.["k8s-namespace"]}/${one?.["k8s-pod-name"]}`));
}
