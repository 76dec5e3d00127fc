import { defineFlags } from "#runtime/flags.ts";

/** The operator's settings; names and defaults are upstream's. */
export const operatorFlags = defineFlags({
  "config-dir": { type: "string", default: "", help: "Directory of the mounted ConfigMap cilium-config." },
  "k8s-kubeconfig-path": { type: "string", default: "", help: "Kubeconfig; else $KUBECONFIG or the pod's service account." },
  "k8s-namespace": { type: "string", default: "kube-system", help: "Namespace that Cilium runs in." },
  ipam: {
    type: "string",
    default: "cluster-pool",
    help: "Who gives nodes their PodCIDR: cluster-pool (CiliumNode) or kubernetes (Node.spec.podCIDRs).",
  },
  "cluster-pool-ipv4-cidr": { type: "list", default: ["10.244.0.0/16"], help: "IPv4 pool for PodCIDRs." },
  "cluster-pool-ipv4-mask-size": { type: "number", default: 24, help: "Prefix length of an IPv4 PodCIDR." },
  "cluster-pool-ipv6-cidr": { type: "list", default: [], help: "IPv6 pool for PodCIDRs." },
  "cluster-pool-ipv6-mask-size": { type: "number", default: 64, help: "Prefix length of an IPv6 PodCIDR." },
  "identity-gc-interval": { type: "duration", default: 60_000, help: "Time between two collections of unused identities." },
  "identity-heartbeat-timeout": { type: "duration", default: 900_000, help: "How long an identity must be unused before it is deleted." },
  "cilium-endpoint-gc-interval": { type: "duration", default: 300_000, help: "Time between two collections of orphaned CiliumEndpoints." },
  "policy-usage-interval": { type: "duration", default: 30_000, help: "Time between two updates of what policies have decided; 0: none." },
  "leader-election-lease-duration": { type: "duration", default: 15_000, help: "How long a silent leader is still believed." },
  "operator-api-serve-addr": { type: "string", default: "127.0.0.1:9234", help: "Address of the health API." },
  "operator-prometheus-serve-addr": { type: "string", default: ":9963", help: "Address of the metrics; empty for none." },
  "cluster-name": { type: "string", default: "default", help: "Name of the cluster, part of the agents' names in their certificates." },
  "enable-hubble-tls-auto": { type: "boolean", default: false, help: "Make Hubble's certificates, and again before they end." },
  "hubble-tls-cert-validity": { type: "number", default: 365, help: "How long Hubble's certificates are valid: days." },
  "skip-crd-creation": { type: "boolean", default: false, help: "Do not create or update CustomResourceDefinitions." },
});
