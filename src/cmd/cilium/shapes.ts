/** The parts of the agent's API that the commands print. The shapes are upstream's; `src/agent/README.md` lists them. */
export interface IdentityShape {
  readonly id: number;
  readonly labels?: readonly string[];
}

export interface EndpointShape {
  readonly id: number;
  readonly spec?: { readonly options?: Readonly<Record<string, string>> };
  readonly status?: {
    readonly "external-identifiers"?: Readonly<Record<string, string>>;
    readonly state?: string;
    readonly identity?: IdentityShape;
    readonly networking?: { readonly addressing?: readonly { readonly ipv4?: string; readonly ipv6?: string }[] };
    readonly policy?: { readonly realized?: { readonly "policy-enabled"?: string; readonly "policy-revision"?: number } };
  };
}

export interface PolicyShape {
  readonly revision: number;
  readonly policy: string;
}

export interface ServiceAddressShape {
  readonly ip: string;
  readonly port: number;
  readonly protocol?: string;
  readonly state?: string;
}

export interface ServiceShape {
  readonly spec: {
    readonly id: number;
    readonly "frontend-address": ServiceAddressShape;
    readonly "backend-addresses"?: readonly ServiceAddressShape[];
    readonly flags?: {
      readonly type?: string;
      readonly name?: string;
      readonly namespace?: string;
      readonly portName?: string;
      readonly extTrafficPolicy?: string;
      readonly intTrafficPolicy?: string;
      readonly sessionAffinityTimeout?: number;
      readonly sourceRanges?: readonly string[];
      readonly denySourceRanges?: boolean;
      readonly algorithm?: string;
      readonly forwardingMode?: string;
      /** The Service, `namespace/name`, whose address a CiliumLocalRedirectPolicy has taken; the name is then the policy's. */
      readonly redirectedService?: string;
    };
  };
}

interface SwitchShape {
  readonly enabled?: boolean;
}

interface KubeProxyFeaturesShape {
  readonly socketLB?: SwitchShape;
  readonly bpfSocketLBHostnsOnly?: boolean;
  readonly sessionAffinity?: SwitchShape;
  readonly gracefulTermination?: SwitchShape;
  readonly externalIPs?: SwitchShape;
  readonly hostPort?: SwitchShape;
  readonly nodePort?: SwitchShape & {
    readonly mode?: string;
    readonly dsrMode?: string;
    readonly algorithm?: string;
    readonly lutSize?: number;
    readonly portMin?: number;
    readonly portMax?: number;
    readonly acceleration?: string;
  };
}

export interface ControllerShape {
  readonly name: string;
  readonly status?: {
    readonly "success-count"?: number;
    readonly "failure-count"?: number;
    readonly "consecutive-failure-count"?: number;
    readonly "last-failure-msg"?: string;
    readonly "last-success-timestamp"?: string;
    readonly "last-failure-timestamp"?: string;
  };
}

export interface AgentStatusShape {
  readonly version?: string;
  readonly node?: string;
  readonly cilium?: StateShape;
  readonly kubernetes?: StateShape & { readonly "k8s-api-versions"?: readonly string[] };
  readonly "kube-proxy-replacement"?: {
    /** What is not replaced. */
    readonly msg?: string;
    readonly mode?: string;
    readonly deviceList?: readonly { readonly name: string; readonly ip?: readonly string[] | string }[];
    readonly devices?: readonly string[];
    readonly features?: KubeProxyFeaturesShape;
  };
  readonly "cni-chaining"?: { readonly mode?: string };
  readonly "cni-file"?: StateShape;
  readonly ipam?: { readonly status?: string; readonly allocations?: Readonly<Record<string, string>> };
  /** Controllers that fail, and since when. */
  readonly stale?: Readonly<Record<string, string>>;
  readonly nodeMonitor?: { readonly cpus: number; readonly npages: number; readonly pagesize: number; readonly lost: number };
  readonly "attach-mode"?: string;
  readonly "datapath-mode"?: string;
  readonly controllers?: readonly ControllerShape[];
  readonly proxy?: {
    readonly ip?: string;
    readonly "port-range"?: string;
    readonly "total-redirects"?: number;
    readonly "envoy-deployment-mode"?: string;
    readonly connected?: boolean;
    readonly redirects?: readonly { readonly name: string; readonly proxy: string; readonly "proxy-port": number }[];
  };
  /** HTTP decided without the proxy; connections and requests are counted only where that is on. */
  readonly "kernel-http"?: StateShape & {
    readonly ports?: number;
    readonly connections?: Readonly<Record<"active" | "taken" | "refused" | "handed-to-proxy" | "cut", number>>;
    readonly requests?: Readonly<Record<"forwarded" | "denied", number>>;
  };
  readonly "identity-range"?: { readonly "min-identity"?: number; readonly "max-identity"?: number };
  readonly hubble?: StateShape & {
    readonly observer?: {
      readonly "current-flows"?: number;
      readonly "max-flows"?: number;
      readonly "seen-flows"?: number;
      readonly uptime?: string;
    };
  };
  readonly "hubble-metrics"?: StateShape;
  readonly routing?: { readonly mode?: string; readonly "intra-host-routing-mode"?: string };
  readonly masquerading?: { readonly enabled?: boolean };
  readonly encryption?: { readonly mode?: string; readonly msg?: string };
  readonly policy?: { readonly revision?: number; readonly "realized-revision"?: number };
}

export interface StateShape {
  readonly state?: string;
  readonly msg?: string;
}

export interface BpfPolicyShape {
  readonly endpoint: number;
  readonly entries: readonly {
    readonly policy: string;
    readonly direction: string;
    readonly identity: number;
    readonly labels?: readonly string[];
    readonly protocol: string;
    readonly port: number;
    readonly endPort?: number;
    readonly prefix: number;
    readonly proxyPort: number;
    readonly authType: string;
    readonly cookie: number;
    readonly rules?: readonly RuleShape[];
  }[];
}

export interface RuleShape {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly section: string;
  readonly index: number;
}

/** One connection of `/v1/bpf/ct`; 64-bit numbers may come as text. */
export interface ConntrackShape {
  readonly protocol: string;
  readonly source: { readonly address: string; readonly port: number };
  readonly destination: { readonly address: string; readonly port: number };
  readonly flags: readonly string[];
  readonly expires: number | string;
  readonly txPackets: number | string;
  readonly txBytes: number | string;
  readonly rxPackets: number | string;
  readonly rxBytes: number | string;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  readonly proxyPort: number;
}
