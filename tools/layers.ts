/**
 * Which folder of src may import which: types ← pure domain ← loops ← edges ← programs. What is not listed is refused, so
 * there are no cycles between folders. `tools/layers.test.ts` checks it. Test files may import anything.
 */
const KERNEL = ["types", "sys"] as const;
const LOOP = ["types", "labels", "identity", "statedb", "reconciler", "runtime", "k8s"] as const;

export const layers: Readonly<Record<string, readonly string[]>> = {
  types: [],
  packet: ["types"],
  statedb: [],
  api: ["types"],
  runtime: [],
  reconciler: ["statedb", "runtime"],
  pki: [],
  sys: ["types"],
  ebpf: KERNEL,
  netlink: KERNEL,

  labels: ["types"],
  identity: ["types", "labels", "fqdn", "statedb"],
  fqdn: ["types"],
  yaml: [],
  policy: ["types", "api", "labels", "identity", "fqdn", "yaml"],
  ipam: ["types"],
  loadbalancer: ["types", "api", "labels", "statedb"],

  k8s: ["types", "api", "statedb", "runtime"],
  ipcache: LOOP,
  node: [...LOOP, "netlink", "sys"],
  endpoint: [...LOOP, "policy", "ipam"],

  datapath: [...LOOP, "policy", "loadbalancer", "ipcache", "node", "endpoint", "ebpf", "netlink", "sys"],
  monitor: ["types", "ebpf", "datapath", "packet", "proxy", "runtime"],
  proxy: ["types", "packet", "fqdn", "labels", "policy", "statedb", "runtime", "sys", "ebpf", "datapath"],
  hubble: [
    "types",
    "api",
    "packet",
    "labels",
    "identity",
    "yaml",
    "fqdn",
    "monitor",
    "datapath",
    "policy",
    "proxy",
    "statedb",
    "runtime",
    "k8s",
  ],
  cni: ["types", "api", "netlink", "runtime", "ipam", "sys"],

  operator: ["types", "api", "pki", "labels", "identity", "policy", "ipam", "loadbalancer", "k8s", "statedb", "reconciler", "runtime"],
  apiserver: ["types", "api", "pki", "labels", "statedb", "runtime"],
  lab: ["types", "api", "apiserver", "k8s", "netlink", "sys", "ebpf", "runtime", "hubble"],
  agent: [
    ...LOOP,
    "api",
    "policy",
    "fqdn",
    "ipam",
    "loadbalancer",
    "ipcache",
    "node",
    "endpoint",
    "datapath",
    "monitor",
    "proxy",
    "hubble",
    "cni",
    "ebpf",
    "netlink",
    "sys",
    "packet",
  ],
  cmd: ["*"],
};
