import { addressesOf, type Endpoint, subjectKey } from "#endpoint/endpoint.ts";
import type { SubjectPolicy } from "#endpoint/subject-policy.ts";
import type { L7Policy, L7Rule } from "#policy/l7-policy.ts";
import type { PolicyMessage, PortPolicy } from "#proxy/protocol.ts";
import type { Step } from "#reconciler/pipeline.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Table } from "#statedb/table.ts";
import { protocolNumber } from "#types/proto.ts";
import type { ProxyClient } from "./proxy-client.ts";

/** How long the kernel waits for the proxy before it redirects all the same; what arrives there then is denied, not passed. */
const ACK_TIMEOUT_MS = 1000;

/**
 * Gives the proxy its policy before the policy maps redirect to it: a step between the policy controller and the maps'
 * reconciler. Nothing is sent before `isReady`: what the first message does not mention is denied.
 */
export function createProxyStep(
  deps: {
    readonly endpoints: Table<Endpoint>;
    readonly subjects: Table<SubjectPolicy>;
    readonly proxy: ProxyClient;
    readonly log: Logger;
  },
  config: { readonly isReady: () => boolean },
): Step {
  const endpointChanges = deps.endpoints.observe();
  const subjectChanges = deps.subjects.observe();
  let sent = "";
  return {
    name: "proxy",
    onWork(fn) {
      endpointChanges.onReady(fn);
      subjectChanges.onReady(fn);
    },
    async run() {
      if (!config.isReady()) return;
      if (endpointChanges.take().length + subjectChanges.take().length === 0) return;
      const endpoints = [...deps.endpoints.list()].flatMap((row) => proxyEndpoint(row, deps.subjects.get(subjectKey(row))) ?? []);
      const text = JSON.stringify(endpoints);
      if (text === sent) return;
      sent = text;
      const acknowledged = await deps.proxy.send(endpoints, ACK_TIMEOUT_MS);
      if (!acknowledged && endpoints.length > 0)
        deps.log.warn("the proxy does not have the present policy yet", { connected: deps.proxy.connected });
    },
  };
}

type ProxyEndpoint = PolicyMessage["endpoints"][number];

/** Undefined when the endpoint has nothing for the proxy. */
function proxyEndpoint(row: Endpoint, subject: SubjectPolicy | undefined): ProxyEndpoint | undefined {
  const policy = subject?.policy;
  const [ingress, egress] = [portPolicies(policy?.l7("ingress") ?? []), portPolicies(policy?.l7("egress") ?? [])];
  if (ingress.length + egress.length === 0 || row.identity === undefined) return undefined;
  return {
    id: row.id,
    identity: row.identity,
    ips: addressesOf(row),
    namespace: row.pod.namespace,
    podName: row.pod.name,
    labels: row.labels.texts,
    ingress,
    egress,
  };
}

/** HTTP on TCP is what the proxy speaks. Rules of other parsers are left out, so what they alone allow is denied there. */
function portPolicies(policies: readonly L7Policy[]): PortPolicy[] {
  return policies
    .filter(({ protocol }) => protocol === protocolNumber.TCP || protocol === 0)
    .map(({ port, endPort, rules }) => ({
      port: Math.max(port, 1),
      ...(endPort > port ? { endPort } : {}),
      protocol: "TCP",
      parser: "http",
      rules: rules
        .filter(isForHttp)
        .map(({ identities, http, origins }) => ({ identities, http: http as PortPolicy["rules"][number]["http"], origins })),
    }));
}

function isForHttp({ parser, serverNames }: L7Rule): boolean {
  return (parser === undefined || parser === "http") && serverNames === null;
}

/** Whether the pod's policy sends anything to the proxy: for the status. */
export function redirectsOf(subjects: Table<SubjectPolicy>): number {
  let count = 0;
  for (const { policy } of subjects.list()) count += (policy?.l7("ingress").length ?? 0) + (policy?.l7("egress").length ?? 0);
  return count;
}
