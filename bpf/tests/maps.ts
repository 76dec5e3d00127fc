import * as gen from "#datapath/gen/structs.ts";
import { u32 } from "#ebpf/codec.ts";
import type { macOf } from "#packet/build.ts";
import { closeBpf } from "#sys/bpf.ts";
import { addressToBytes, type IpAddress } from "#types/addr.ts";
import { macToBytes } from "#types/mac.ts";
import { createMap, TestMap } from "./kernel.ts";

/** What a test says about a pod; addresses of both families, so that every case can run for either. */
export interface Pod {
  readonly name: string;
  readonly lxcId: number;
  readonly identity: number;
  readonly ipv4: IpAddress;
  readonly ipv6: IpAddress;
  readonly ifindex: number;
  readonly mac: ReturnType<typeof macOf>;
  readonly nodeMac: ReturnType<typeof macOf>;
}

/** One entry of a policy map, in the words of the tests. */
export interface Rule {
  /** Numeric identity; absent: any peer. */
  readonly peer?: number;
  /** IP protocol number; absent: any. */
  readonly protocol?: number;
  readonly port?: number;
  /** Bits of the port that count, 1-16. */
  readonly portBits?: number;
  readonly deny?: boolean;
  readonly proxyPort?: number;
  readonly precedence?: number;
  readonly auth?: number;
  readonly cookie?: number;
}

export interface PolicyOfPod {
  /** Present: that direction is enforced, with default deny. */
  readonly ingress?: readonly Rule[];
  readonly egress?: readonly Rule[];
  readonly defaultAllow?: boolean;
  readonly audit?: boolean;
  /** The policy that would be in force if nothing were audited. */
  readonly audited?: PolicyOfPod;
  readonly generation?: number;
}

/** POLICY_AUDIT_ID and POLICY_AUDIT_SECOND of policy_maps.h. */
const AUDIT_ID = 0x10000;
const AUDIT_SECOND = 2;

const ZERO = { bytes: new Uint8Array(16) };
const LPM_TRIE = 11;
const NO_PREALLOC = 1;

function address(text: IpAddress): gen.Addr16 {
  return { bytes: addressToBytes(text) };
}

/** What the agent would write: one node's maps, in the words of the tests. */
export class NodeMaps implements Disposable {
  readonly lxc: TestMap<gen.Addr16, gen.EndpointInfo>;
  readonly veth: TestMap<number, gen.VethInfo>;
  readonly ipcache: TestMap<gen.Addr16, gen.RemoteInfo>;
  readonly prefixes: TestMap<gen.IpcacheLpmKey, gen.RemoteInfo>;
  readonly policy: TestMap<number, number>;
  readonly policyConfig: TestMap<number, gen.PolicyConfig>;
  readonly ct: TestMap<gen.CtKey, gen.CtEntry>;
  readonly names: TestMap<gen.FqdnKey, gen.FqdnEntry>;
  readonly fragments: TestMap<gen.FragmentKey, gen.FragmentPorts>;
  readonly runtime: TestMap<number, gen.RuntimeConfig>;
  readonly #inner: number[] = [];

  /** Descriptors of a loaded object's maps by name; they stay the caller's. */
  constructor(fds: Readonly<Record<string, number>>) {
    const fd = (name: string): number => fds[name] ?? -1;
    this.lxc = new TestMap(fd("cilium_lxc"), gen.addr16, gen.endpointInfo);
    this.veth = new TestMap(fd("cilium_lxc_ifindex"), u32, gen.vethInfo);
    this.ipcache = new TestMap(fd("cilium_ipcache"), gen.addr16, gen.remoteInfo);
    this.prefixes = new TestMap(fd("cilium_ipcache_lpm"), gen.ipcacheLpmKey, gen.remoteInfo);
    this.policy = new TestMap(fd("cilium_policy"), u32, u32);
    this.policyConfig = new TestMap(fd("cilium_policy_config"), u32, gen.policyConfig);
    this.ct = new TestMap(fd("cilium_ct"), gen.ctKey, gen.ctEntry);
    this.names = new TestMap(fd("cilium_fqdn"), gen.fqdnKey, gen.fqdnEntry);
    this.fragments = new TestMap(fd("cilium_fragments"), gen.fragmentKey, gen.fragmentPorts);
    this.runtime = new TestMap(fd("cilium_runtime_config"), u32, gen.runtimeConfig);
  }

  /** A pod of this node, ready, with this policy. */
  addPod(pod: Pod, policy: PolicyOfPod): void {
    const macs = { mac: macToBytes(pod.mac), nodeMac: macToBytes(pod.nodeMac) };
    const info = { ifindex: pod.ifindex, lxcId: pod.lxcId, secId: pod.identity, flags: 0, ...macs };
    const veth = { lxcId: pod.lxcId, secId: pod.identity, ipv4: address(pod.ipv4), ipv6: address(pod.ipv6), flags: 0, ...macs };
    this.setPolicy(pod, policy);
    this.veth.set(pod.ifindex, veth);
    this.lxc.set(address(pod.ipv4), info);
    this.lxc.set(address(pod.ipv6), info);
  }

  /** Replaces a pod's policy; the generation goes up unless given. */
  setPolicy(pod: Pod, policy: PolicyOfPod): void {
    if (policy.audited) this.#writePolicy(pod.lxcId | AUDIT_ID, policy.audited, 1, 0);
    const generation = policy.generation ?? (this.policyConfig.get(pod.lxcId)?.generation ?? 0) + 1;
    this.#writePolicy(pod.lxcId, policy, generation, policy.audit ? 1 : policy.audited ? AUDIT_SECOND : 0);
  }

  #writePolicy(id: number, policy: PolicyOfPod, generation: number, audit: number): void {
    const inner = createMap(LPM_TRIE, gen.policyKey.size, gen.policyEntry.size, 1024, NO_PREALLOC);
    this.#inner.push(inner);
    const entries = new TestMap(inner, gen.policyKey, gen.policyEntry);
    for (const rule of policy.ingress ?? []) writeRule(entries, 0, rule);
    for (const rule of policy.egress ?? []) writeRule(entries, 1, rule);
    this.policy.set(id, inner);
    this.policyConfig.set(id, {
      generation,
      ingressDefaultDeny: policy.ingress && !policy.defaultAllow ? 1 : 0,
      egressDefaultDeny: policy.egress && !policy.defaultAllow ? 1 : 0,
      ingressEnforced: policy.ingress ? 1 : 0,
      egressEnforced: policy.egress ? 1 : 0,
      audit,
      ingressDefaultCookie: 9001,
      egressDefaultCookie: 9002,
    });
  }

  /** An address the ipcache knows: `node` is the address of the node that has it. */
  know(text: IpAddress, identity: number, node?: IpAddress): void {
    this.ipcache.set(address(text), { secId: identity, tunnelEndpoint: node ? address(node) : ZERO, flags: 0 });
  }

  /** No longer. */
  unknow(text: IpAddress): void {
    this.ipcache.delete(address(text));
  }

  forget(text: IpAddress): void {
    this.ipcache.delete(address(text));
  }

  /** An address that the pod has learned by name: pairs of identity and the second at which it ends; `used` as in `fqdn_entry`. */
  learn(pod: Pod, text: IpAddress, grants: readonly (readonly [number, number])[], used = 0): void {
    const slots = Array.from({ length: 8 }, (_, i) => ({ secId: grants[i]?.[0] ?? 0, expires: grants[i]?.[1] ?? 0 }));
    this.names.set({ address: address(text), lxcId: pod.lxcId }, { grants: slots, used });
  }

  /** When a connection to an address that the pod has learned last began. */
  usedAt(pod: Pod, text: IpAddress): number | undefined {
    return this.names.get({ address: address(text), lxcId: pod.lxcId })?.used;
  }

  /** A prefix the ipcache knows; `bits` of an IPv4 prefix as people write them. */
  knowPrefix(text: IpAddress, bits: number, identity: number): void {
    const prefixlen = text.includes(":") ? bits : bits + 96;
    this.prefixes.set({ prefixlen, address: address(text) }, { secId: identity, tunnelEndpoint: ZERO, flags: 0 });
  }

  [Symbol.dispose](): void {
    for (const fd of this.#inner) closeBpf(fd);
  }
}

function writeRule(entries: TestMap<gen.PolicyKey, gen.PolicyEntry>, egress: number, rule: Rule): void {
  const portBits = rule.port === undefined ? 0 : (rule.portBits ?? 16);
  const matchLen = rule.protocol === undefined ? 0 : 8 + portBits;
  entries.set(
    { prefixlen: 40 + matchLen, secLabel: rule.peer ?? 0, egress, protocol: rule.protocol ?? 0, dport: rule.port ?? 0 },
    {
      proxyPort: rule.proxyPort ?? 0,
      flags: rule.deny ? 1 : 0,
      authType: rule.auth ?? 0,
      matchLen,
      // As the engine does: deny above redirect above allow.
      precedence: rule.precedence ?? (rule.deny ? 3 : rule.proxyPort ? 2 : 1),
      cookie: rule.cookie ?? 0,
    },
  );
}
