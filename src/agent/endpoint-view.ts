import { createHash } from "node:crypto";
import type { RealizedPolicy } from "#datapath/reconcile/policy.ts";
import type { Endpoint } from "#endpoint/endpoint.ts";
import { externalIdentifiers } from "#endpoint/object.ts";
import type { EndpointPolicy, PolicyMapEntry } from "#policy/resolve/resolve.ts";
import type { Direction } from "#types/direction.ts";
import { formatProtocol } from "#types/proto.ts";

export interface EndpointView {
  readonly endpoint: Endpoint;
  readonly policy: EndpointPolicy | undefined;
  readonly realized: RealizedPolicy | undefined;
  readonly audit: boolean;
  readonly proxyRevision: number;
  readonly log: readonly { readonly timestamp: string; readonly code: string; readonly state: string; readonly message: string }[];
}

/** An endpoint as upstream's API shows it. */
export function endpointToJson(view: EndpointView): unknown {
  const { endpoint, realized, audit } = view;
  const { id, identity, labels, state, namedPorts, ipv4, ipv6, containerId, pod } = endpoint;
  const texts = [...labels.texts];
  const policy = policyToJson(view);
  const healthy = state === "ready" && !realized?.locked;
  return {
    id,
    spec: { "label-configuration": { user: [] }, options: { PolicyAuditMode: audit ? "Enabled" : "Disabled" } },
    status: {
      state,
      identity: { id: identity ?? 0, labels: texts, labelsSHA256: createHash("sha256").update(labels.key).digest("hex") },
      "external-identifiers": externalIdentifiers(containerId, endpoint.interface.ifname, pod),
      networking: {
        addressing: [{ ...(ipv4 ? { ipv4 } : {}), ...(ipv6 ? { ipv6 } : {}) }],
        "interface-name": endpoint.interface.name,
        "interface-index": endpoint.interface.index,
        "container-interface-name": endpoint.interface.ifname,
        mac: endpoint.interface.mac,
        "host-mac": endpoint.interface.hostMac,
      },
      labels: { "security-relevant": texts, realized: { user: [] } },
      namedPorts: namedPorts.map(({ name, port, protocol }) => ({ name, port, protocol: formatProtocol(protocol) })),
      policy: { spec: policy, realized: policy, "proxy-policy-revision": view.proxyRevision, "proxy-statistics": [] },
      realized: { options: { PolicyAuditMode: audit ? "Enabled" : "Disabled" } },
      controllers: [],
      log: view.log,
      health: {
        bpf: healthy ? "OK" : "Failure",
        policy: realized?.locked ? "Failure" : "OK",
        connected: true,
        overallHealth: healthy ? "OK" : realized?.locked ? "Failure" : "Pending",
      },
    },
  };
}

function policyToJson({ endpoint, policy, realized, audit }: EndpointView): unknown {
  const entries = policy?.entries() ?? [];
  const identities = (direction: Direction, deny: boolean) => {
    const matching = entries.filter((entry) => entry.direction === direction && entry.deny === deny);
    return [...new Set(matching.map(({ identity }) => Number(identity)))].sort((a, b) => a - b);
  };
  return {
    id: endpoint.identity ?? 0,
    "policy-revision": realized?.revision ?? 0,
    build: realized?.revision ?? 0,
    "policy-enabled": enforcement(policy, audit),
    ...(realized?.locked ? { error: realized.locked } : {}),
    "allowed-ingress-identities": identities("ingress", false),
    "allowed-egress-identities": identities("egress", false),
    "denied-ingress-identities": identities("ingress", true),
    "denied-egress-identities": identities("egress", true),
    l4: { ingress: l4(entries, "ingress"), egress: l4(entries, "egress") },
    "cidr-policy": { ingress: [], egress: [] },
  };
}

/** `none`, `ingress`, `egress` or `both`, with `audit-` before it in audit mode. Without a policy everything is denied. */
export function enforcement(policy: EndpointPolicy | undefined, audit: boolean): string {
  const ingress = policy?.ingress.enforced ?? true;
  const egress = policy?.egress.enforced ?? true;
  if (!ingress && !egress) return "none";
  const which = ingress && egress ? "both" : ingress ? "ingress" : "egress";
  return audit ? `audit-${which}` : which;
}

function l4(entries: readonly PolicyMapEntry[], direction: Direction): unknown[] {
  const ports = Map.groupBy(
    entries.filter((entry) => entry.direction === direction && entry.protocol !== 0),
    ({ port, protocol }) => `${port}/${formatProtocol(protocol)}`,
  );
  return [...ports].map(([rule, group]) => {
    const origins = new Map(group.flatMap((entry) => entry.origins).map((origin) => [JSON.stringify(origin), origin]));
    const parser = group.find(({ proxy }) => proxy)?.proxy?.parser;
    return {
      rule: JSON.stringify({ port: group[0]?.port ?? 0, protocol: rule.split("/")[1], ...(parser ? { "l7-rules": parser } : {}) }),
      "derived-from-rules": [...origins.values()].map(({ kind, namespace, name, section, index }) => [
        `k8s:io.cilium.k8s.policy.derived-from=${kind}`,
        `k8s:io.cilium.k8s.policy.name=${name}`,
        `k8s:io.cilium.k8s.policy.namespace=${namespace}`,
        `rule=${section}[${index}]`,
      ]),
      "rules-by-selector": {},
    };
  });
}
