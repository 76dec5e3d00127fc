import type { SelfNode } from "#node/self.ts";
import type { LbSettings } from "./lb-settings.ts";

/** How services are translated here, as upstream's `KubeProxyReplacement` of the status. */
export function kprStatus(settings: LbSettings, self: SelfNode, addresses: readonly string[]): unknown {
  const { enabled } = settings;
  const on = { enabled };
  return {
    mode: enabled ? "True" : "False",
    ...(enabled
      ? {}
      : { msg: "only cluster IPs, from pods; node ports, load balancers, host ports and the node's own programs need kube-proxy" }),
    deviceList: [{ name: self.device.name, ip: addresses }],
    devices: [self.device.name],
    directRoutingDevice: self.device.name,
    features: {
      socketLB: { enabled: settings.sockets !== "none" },
      socketLBTracing: { enabled: settings.sockets !== "none" },
      bpfSocketLBHostnsOnly: settings.sockets === "host",
      nodePort: {
        enabled,
        mode: MODES[settings.mode],
        dsrMode: settings.mode === "snat" ? "" : "IP Option/Extension",
        algorithm: settings.algorithm === "maglev" ? "Maglev" : "Random",
        ...(settings.algorithm === "maglev" ? { lutSize: settings.maglevSize } : {}),
        portMin: settings.nodePorts.first,
        portMax: settings.nodePorts.last,
        acceleration: ACCELERATIONS[settings.acceleration],
      },
      externalIPs: on,
      hostPort: on,
      hostReachableServices: { enabled: settings.sockets !== "none" },
      sessionAffinity: on,
      gracefulTermination: on,
      nat46X64: { enabled: false },
    },
  };
}

const MODES = { snat: "SNAT", dsr: "DSR", hybrid: "Hybrid" } as const;
const ACCELERATIONS = { disabled: "Disabled", native: "Native", "best-effort": "Best-Effort", "testing-only": "Generic" } as const;
