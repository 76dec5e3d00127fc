import type { JsonObject } from "../object.ts";
import type { Schema } from "../schema/schema.ts";
import { clusterNetworkPolicySchema } from "./cluster-network-policy.ts";
import { policySchema } from "./policy.ts";
import { cidrGroupSchema, endpointSchema, identitySchema, nodeSchema, poolSchema, redirectSchema, usageSchema } from "./state.ts";

interface Definition {
  /** Of another project's API; else Cilium's own, `cilium.io/v2`. */
  readonly api?: { readonly group: string; readonly version: string; readonly approved: string };
  readonly kind: string;
  readonly plural: string;
  readonly short: readonly string[];
  readonly namespaced: boolean;
  readonly policy?: true;
  readonly status?: true;
  readonly schema: Schema;
  readonly columns: readonly JsonObject[];
}

const column = (name: string, jsonPath: string, description: string, more: JsonObject = {}): JsonObject => ({
  name,
  type: "string",
  description,
  jsonPath,
  ...more,
});
const AGE = column("Age", ".metadata.creationTimestamp", "Time since it was created.", { type: "date" });
const VALID = column("Valid", ".status.conditions[?(@.type=='Valid')].status", "Whether the policy can be enforced.");
const wide = { priority: 1 };
const USAGE = [
  column("Nodes", ".status.usage.nodes", "How many nodes enforce it on a pod.", { type: "integer" }),
  column("Hits", ".status.usage.packets", "Packets that its rules have decided about.", { type: "integer" }),
  column("Audited", ".status.usage.audited", "Packets that it would have denied without audit mode.", { type: "integer", ...wide }),
  column("Last Hit", ".status.usage.lastHit", "When they last did.", { type: "date", ...wide }),
];

export const DEFINITIONS: readonly Definition[] = [
  {
    kind: "CiliumNetworkPolicy",
    plural: "ciliumnetworkpolicies",
    short: ["cnp", "ciliumnp"],
    namespaced: true,
    policy: true,
    status: true,
    schema: policySchema(false),
    columns: [AGE, VALID, ...USAGE],
  },
  {
    kind: "CiliumClusterwideNetworkPolicy",
    plural: "ciliumclusterwidenetworkpolicies",
    short: ["ccnp"],
    namespaced: false,
    policy: true,
    status: true,
    schema: policySchema(true),
    columns: [VALID, ...USAGE],
  },
  {
    // Upstream's short name, cnp, is CiliumNetworkPolicy's here.
    kind: "ClusterNetworkPolicy",
    plural: "clusternetworkpolicies",
    short: ["cnetpol"],
    api: {
      group: "policy.networking.k8s.io",
      version: "v1alpha2",
      approved: "https://github.com/kubernetes-sigs/network-policy-api/pull/347",
    },
    namespaced: false,
    policy: true,
    status: true,
    schema: clusterNetworkPolicySchema,
    columns: [
      column("Tier", ".spec.tier", "Before or after all other policies."),
      column("Priority", ".spec.priority", "Within the tier; the lowest comes first."),
      VALID,
      ...USAGE,
      AGE,
    ],
  },
  {
    kind: "CiliumEndpoint",
    plural: "ciliumendpoints",
    short: ["cep", "ciliumep"],
    namespaced: true,
    status: true,
    schema: endpointSchema,
    columns: [
      column("Security Identity", ".status.identity.id", "The endpoint's identity.", { type: "integer" }),
      column("Ingress Enforcement", ".status.policy.ingress.state", "Policy for traffic to the endpoint.", wide),
      column("Egress Enforcement", ".status.policy.egress.state", "Policy for traffic from the endpoint.", wide),
      column("Endpoint State", ".status.state", "The endpoint's state."),
      column("IPv4", ".status.networking.addressing[0].ipv4", "The endpoint's IPv4 address."),
      column("IPv6", ".status.networking.addressing[0].ipv6", "The endpoint's IPv6 address."),
    ],
  },
  {
    kind: "CiliumIdentity",
    plural: "ciliumidentities",
    short: ["ciliumid"],
    namespaced: false,
    schema: identitySchema,
    columns: [
      column("Namespace", ".metadata.labels.io\\.kubernetes\\.pod\\.namespace", "The namespace of the pods with this identity."),
      AGE,
    ],
  },
  {
    kind: "CiliumNode",
    plural: "ciliumnodes",
    short: ["cn", "ciliumn"],
    namespaced: false,
    status: true,
    schema: nodeSchema,
    columns: [
      column("CiliumInternalIP", '.spec.addresses[?(@.type=="CiliumInternalIP")].ip', "The address of the node's own endpoint."),
      column("InternalIP", '.spec.addresses[?(@.type=="InternalIP")].ip', "The node's address."),
      AGE,
    ],
  },
  {
    kind: "CiliumPolicyUsage",
    plural: "ciliumpolicyusages",
    short: [],
    namespaced: false,
    schema: usageSchema,
    columns: [AGE],
  },
  { kind: "CiliumCIDRGroup", plural: "ciliumcidrgroups", short: ["ccg"], namespaced: false, schema: cidrGroupSchema, columns: [AGE] },
  {
    kind: "CiliumLoadBalancerIPPool",
    plural: "ciliumloadbalancerippools",
    short: ["ippools", "ippool", "lbippool", "lbippools"],
    namespaced: false,
    status: true,
    schema: poolSchema,
    columns: [
      column("Disabled", ".spec.disabled", "Whether addresses are given out.", { type: "boolean" }),
      column(
        "Conflicting",
        '.status.conditions[?(@.type=="cilium.io/PoolConflict")].status',
        "Whether another pool has the same addresses.",
      ),
      column("IPs Available", '.status.conditions[?(@.type=="cilium.io/IPsAvailable")].message', "Addresses that are left."),
      AGE,
    ],
  },
  {
    kind: "CiliumLocalRedirectPolicy",
    plural: "ciliumlocalredirectpolicies",
    short: ["clrp"],
    namespaced: true,
    status: true,
    schema: redirectSchema,
    columns: [AGE],
  },
];

const OWN_API = { group: "cilium.io", version: "v2" };

/** The CustomResourceDefinition object of one kind. */
export function toManifest(definition: Definition): JsonObject {
  const { kind, plural, short, namespaced, policy, status, schema, columns, api } = definition;
  const { group, version } = api ?? OWN_API;
  // Kubernetes wants to know who approved a kind of its own domain.
  const annotations = api === undefined ? {} : { annotations: { "api-approved.kubernetes.io": api.approved } };
  const singular = kind.toLowerCase();
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}`, labels: { "io.cilium.k8s.crd.schema.version": "1.34.2" }, ...annotations },
    spec: {
      group,
      scope: namespaced ? "Namespaced" : "Cluster",
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular,
        shortNames: short,
        categories: policy ? ["cilium", "ciliumpolicy"] : ["cilium"],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          additionalPrinterColumns: columns,
          subresources: status ? { status: {} } : {},
          schema: { openAPIV3Schema: { ...schema, properties: { ...STANDARD, ...schema.properties } } },
        },
      ],
    },
  };
}

const STANDARD: Record<string, Schema> = {
  apiVersion: { type: "string", description: "The versioned schema of this object." },
  kind: { type: "string", description: "What this object is." },
  metadata: { type: "object" },
};
