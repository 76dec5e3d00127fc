import { hostname } from "node:os";
import { deniedFlags } from "#proxy/flags.ts";
import { defineFlags, type FlagValues } from "#runtime/flags.ts";
import { dnsFlags } from "./dns-settings.ts";

/** Every setting of the agent, by upstream's names: as flag, as `CILIUM_<NAME>`, and as key of the `cilium-config` ConfigMap. */
export const agentFlags = defineFlags({
  "config-dir": { type: "string", default: "", help: "Directory of a mounted ConfigMap, one file a setting." },
  "k8s-kubeconfig-path": { type: "string", default: "", help: "Kubeconfig file; the pod's service account when empty." },
  "k8s-node-name": { type: "string", default: "", help: "Name of this node; K8S_NODE_NAME, then the host name when empty." },
  "cluster-name": { type: "string", default: "default", help: "Name of the cluster, part of every pod's identity." },
  "cluster-id": { type: "number", default: 0, help: "Number of the cluster in a mesh." },
  "enable-ipv4": { type: "boolean", default: true, help: "Give pods IPv4 addresses." },
  "enable-ipv6": { type: "boolean", default: false, help: "Give pods IPv6 addresses." },
  "enable-policy": { type: "string", default: "default", help: "Policy enforcement: default, always or never." },
  "policy-audit-mode": { type: "boolean", default: false, help: "Let pass what policy denies, and report it." },
  "policy-usage-interval": { type: "duration", default: 30_000, help: "Time between two reports of what policies have decided; 0: none." },
  "monitor-aggregation": {
    type: "string",
    default: "medium",
    help: "How much forwarded traffic is reported: none, lowest, low, medium, maximum.",
  },
  "monitor-aggregation-interval": { type: "duration", default: 5000, help: "Time between two reports of one connection." },
  "bpf-events-drop-enabled": { type: "boolean", default: true, help: "Report what is dropped." },
  "bpf-events-policy-verdict-enabled": { type: "boolean", default: true, help: "Report what policies decide of new connections." },
  "bpf-events-trace-enabled": { type: "boolean", default: true, help: "Report forwarded traffic." },
  labels: { type: "string", default: "", help: "Which labels make an identity, as upstream's label filter." },
  ipam: { type: "string", default: "kubernetes", help: "Who gives pod CIDRs to nodes: kubernetes or cluster-pool." },
  "routing-mode": { type: "string", default: "native", help: "How packets get to other nodes: native." },
  "auto-direct-node-routes": { type: "boolean", default: true, help: "Route to other nodes' pod CIDRs through their node addresses." },
  devices: { type: "list", default: [], help: "Devices that lead to other nodes; the one of the node's address when empty." },
  mtu: { type: "number", default: 0, help: "MTU of pods; the device's when 0." },
  "kube-proxy-replacement": {
    type: "string",
    default: "true",
    help: "All services in the kernel, without kube-proxy: true or false (pods' cluster IPs only).",
  },
  "bpf-lb-sock": { type: "boolean", default: false, help: "Translate cluster IPs where programs connect, beside kube-proxy, too." },
  "bpf-lb-sock-hostns-only": { type: "boolean", default: false, help: "Translate at sockets of the node only, pods' packets one by one." },
  "bpf-lb-mode": { type: "string", default: "snat", help: "How answers get back to clients outside: snat, dsr or hybrid (dsr for TCP)." },
  "bpf-lb-dsr-dispatch": { type: "string", default: "opt", help: "How nodes tell each other the service's address: opt (in the packet)." },
  "bpf-lb-algorithm": { type: "string", default: "random", help: "How backends are chosen: random or maglev." },
  "bpf-lb-maglev-table-size": { type: "number", default: 16381, help: "Entries of a service's Maglev table, a prime." },
  "bpf-lb-acceleration": {
    type: "string",
    default: "disabled",
    help: "Programs at the driver: disabled, native, best-effort or testing-only.",
  },
  "bpf-lb-external-clusterip": { type: "boolean", default: false, help: "Let clients outside use cluster addresses." },
  "bpf-lb-source-range-all-types": {
    type: "boolean",
    default: false,
    help: "loadBalancerSourceRanges are for all addresses of a service.",
  },
  "lrp-address-matcher-cidrs": {
    type: "list",
    default: [],
    help: "Blocks of the addresses that local redirects may name; all when empty.",
  },
  "node-port-range": { type: "list", default: ["30000", "32767"], help: "First and last port of node ports." },
  "nodeport-addresses": { type: "list", default: [], help: "Address blocks of the node's addresses that have node ports; all when empty." },
  "enable-service-topology": {
    type: "boolean",
    default: true,
    help: "Follow the hints of EndpointSlices, which only services have that ask.",
  },
  "enable-health-check-nodeport": { type: "boolean", default: true, help: "Tell load balancers which nodes have backends." },
  "ipv4-service-loopback-address": { type: "string", default: "169.254.42.1", help: "Source of a pod that reaches itself by a service." },
  "ipv6-service-loopback-address": {
    type: "string",
    default: "fd00:169:254:42::1",
    help: "The same for IPv6; not a link-local one, which servers could not answer without naming the interface.",
  },
  "bpf-root": { type: "string", default: "/sys/fs/bpf", help: "BPF file system of this node." },
  "bpf-lib-dir": { type: "string", default: "", help: "Directory of the compiled datapath; the one of this checkout when empty." },
  "bpf-policy-map-max": { type: "number", default: 16384, help: "Entries of a policy map." },
  "cgroup-root": { type: "string", default: "", help: "cgroup v2 directory whose processes get service translation; found when empty." },
  "state-dir": { type: "string", default: "/var/run/cilium/state", help: "Where endpoints are remembered over a restart." },
  "socket-path": { type: "string", default: "/var/run/cilium/cilium.sock", help: "Socket of the local API." },
  "cni-socket-path": { type: "string", default: "/var/run/cilium/cni.sock", help: "Socket for the CNI plugin." },
  "proxy-socket-path": { type: "string", default: "/var/run/cilium/proxy.sock", help: "Socket of the L7 proxy." },
  "write-cni-conf-when-ready": {
    type: "string",
    default: "/etc/cni/net.d/05-cilium.conflist",
    help: "CNI configuration to write when ready; none when empty.",
  },
  "cni-bin-dir": { type: "string", default: "/opt/cni/bin", help: "Where the CNI plugin is installed; nowhere when empty." },
  "cni-exclusive": { type: "boolean", default: true, help: "Set other CNI configurations aside." },
  "cni-add-timeout": { type: "duration", default: 60_000, help: "Longest time for one CNI ADD before it is undone." },
  "agent-health-port": { type: "number", default: 9879, help: "Port of /healthz on localhost; 0: none." },
  "prometheus-serve-addr": { type: "string", default: ":9962", help: "Address of the metrics; none when empty." },
  "enable-kernel-http": {
    type: "boolean",
    default: false,
    help: "Decide plain HTTP in the kernel, at the servers' sockets, where rules allow that (not upstream's).",
  },
  ...deniedFlags,
  "enable-hubble": { type: "boolean", default: true, help: "Observe flows." },
  "hubble-listen-address": { type: "string", default: ":4244", help: "Address of the Hubble server; none when empty." },
  "hubble-socket-path": { type: "string", default: "/var/run/cilium/hubble.sock", help: "Unix socket of the Hubble server." },
  "hubble-disable-tls": { type: "boolean", default: false, help: "Serve Hubble in clear text." },
  "hubble-tls-cert-file": { type: "string", default: "", help: "Certificate of the Hubble server; clear text when empty." },
  "hubble-tls-key-file": { type: "string", default: "", help: "Private key of the Hubble server." },
  "hubble-tls-client-ca-files": { type: "list", default: [], help: "Authorities of Hubble's clients; any client when empty." },
  "hubble-event-buffer-capacity": { type: "number", default: 4095, help: "Flows kept in memory." },
  "hubble-export-file-path": {
    type: "string",
    default: "",
    help: "File of JSON lines that flows are written to, or stdout; none when empty.",
  },
  "hubble-export-file-max-size-mb": { type: "number", default: 10, help: "Size at which the export file is rotated: megabytes." },
  "hubble-export-file-max-backups": { type: "number", default: 5, help: "Rotated export files kept; 0: all." },
  "hubble-export-file-compress": { type: "boolean", default: false, help: "Compress rotated export files." },
  "hubble-export-allowlist": { type: "string", default: "", help: "Only export flows that match one of these filters, JSON objects." },
  "hubble-export-denylist": { type: "string", default: "", help: "Do not export flows that match one of these filters, JSON objects." },
  "hubble-export-fieldmask": { type: "list", default: [], help: "Fields of a flow to export; all when empty." },
  "hubble-flowlogs-config-path": {
    type: "string",
    default: "",
    help: "File of flow logs that come and go while the agent runs; none when empty.",
  },
  "hubble-history-path": { type: "string", default: "", help: "Directory where flows are kept over restarts; none when empty." },
  "hubble-history-max-size-mb": { type: "number", default: 256, help: "Flows kept on disk: megabytes." },
  "hubble-history-max-age": { type: "duration", default: 172_800_000, help: "Flows kept on disk: for how long." },
  "hubble-redact-enabled": { type: "boolean", default: false, help: "Hide parts of L7 flows, as the next settings say." },
  "hubble-redact-http-urlquery": { type: "boolean", default: false, help: "Hide the query of URLs." },
  "hubble-redact-http-userinfo": { type: "boolean", default: true, help: "Hide passwords in URLs." },
  "hubble-redact-http-headers-allow": { type: "list", default: [], help: "Hide all headers but these." },
  "hubble-redact-http-headers-deny": { type: "list", default: [], help: "Hide these headers only." },
  "hubble-metrics": { type: "string", default: "", help: "Hubble metrics to count, as upstream's list." },
  "hubble-dynamic-metrics-config-path": {
    type: "string",
    default: "",
    help: "File of Hubble metrics that may change while the agent runs; not beside hubble-metrics.",
  },
  "enable-hubble-open-metrics": {
    type: "boolean",
    default: false,
    help: "Hubble metrics in OpenMetrics for who asks for it, with exemplars.",
  },
  "hubble-metrics-server": { type: "string", default: "", help: "Address of the Hubble metrics, such as :9965; none when empty." },
  "conntrack-gc-interval": { type: "duration", default: 30_000, help: "Time between two sweeps of the connection table." },
  "endpoint-gc-interval": { type: "duration", default: 300_000, help: "Time between two searches for endpoints whose pod is gone." },
  "policy-l7-merge": {
    type: "string",
    default: "union",
    help: "What an L7 rule beside a wider L4 allow means: union (as Cilium) or restrict.",
  },
  ...dnsFlags,
  "log-level": { type: "string", default: "", help: "debug, info, warn or error." },
});

export type AgentConfig = FlagValues<typeof agentFlags>;

/** The node this agent is for. */
export function nodeNameOf(config: AgentConfig, env: Readonly<Record<string, string | undefined>> = process.env): string {
  return config["k8s-node-name"] || env.K8S_NODE_NAME || hostname();
}

/** Host and port of `:9962` or `127.0.0.1:9962`; undefined when the setting is empty. */
export function parseListenAddress(text: string): { readonly host: string; readonly port: number } | undefined {
  if (text === "") return undefined;
  const colon = text.lastIndexOf(":");
  const host = text.slice(0, colon).replace(/^\[|\]$/g, "");
  return { host: host === "" ? "0.0.0.0" : host, port: Number(text.slice(colon + 1)) };
}
