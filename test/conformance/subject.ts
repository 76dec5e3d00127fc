import { createCookies } from "#datapath/cookies.ts";
import { createExpedite } from "#datapath/expedite.ts";
import { EventType } from "#datapath/gen/enums.ts";
import { maps as specs } from "#datapath/gen/maps.ts";
import { createPolicyMaps } from "#datapath/reconcile/policy.ts";
import { KernelMap } from "#ebpf/map.ts";
import { KernelMapOfMaps } from "#ebpf/map-of-maps.ts";
import { createDeltaLog, type SubjectPolicy } from "#endpoint/subject-policy.ts";
import { buildPacket, type PacketSpec } from "#packet/build.ts";
import { TcpFlag } from "#packet/headers.ts";
import type { EndpointPolicy } from "#policy/resolve/resolve.ts";
import type { Flow } from "#policy/resolve/verdict.ts";
import { PROXY_PORTS } from "#proxy/protocol.ts";
import { silentLogger } from "#runtime/logger.ts";
import type { IpAddress } from "#types/addr.ts";
import type { NumericIdentity } from "#types/identity.ts";
import { macFromBytes } from "#types/mac.ts";
import { protocolNumber } from "#types/proto.ts";
import { type Datapath, openDatapath } from "../../bpf/tests/harness.ts";
import type { Pod } from "../../bpf/tests/maps.ts";

/** Verdicts of connections are told, other traces are not. */
const MONITOR_MEDIUM = 3;
const EPHEMERAL = 20_000;

/** What the kernel said about one packet. */
export type KernelVerdict = {
  /** 0 allowed, > 0 the proxy's port, < 0 a drop reason. */
  readonly verdict: number;
  /** The rules behind it; undefined where no policy was asked. */
  readonly cookie: number | undefined;
};

/** One pod of the datapath, which is given one policy after another by the agent's own code; its peers are all elsewhere. */
export class Subject implements AsyncDisposable {
  readonly cookies = createCookies();
  readonly #datapath: Datapath = openDatapath({ monitorAggregation: MONITOR_MEDIUM });
  readonly #pod: Pod = this.#datapath.addPod("subject", 10_000);
  readonly #maps = createPolicyMaps(
    {
      kernel: {
        outer: new KernelMapOfMaps(this.#datapath.maps.policy.fd, specs.ciliumPolicy),
        config: new KernelMap(this.#datapath.maps.policyConfig.fd, specs.ciliumPolicyConfig),
      },
      cookies: this.cookies,
      log: silentLogger,
      expedite: createExpedite(),
    },
    { maxEntries: 16_384, proxyPorts: PROXY_PORTS },
  );
  /** The pod's policy as a row of the agent's table. */
  #row: SubjectPolicy | undefined;
  #runs = 0;

  /** From now on this is the pod's policy. */
  setPolicy(policy: EndpointPolicy): void {
    const version = (this.#row?.version ?? 0) + 1;
    const row = { key: String(version), policy, error: undefined, revision: version, version, log: createDeltaLog(version) };
    this.#maps.target.update(row, undefined);
    this.#maps.attach({ id: this.#pod.lxcId, subject: row.key, audit: false });
    if (this.#row) this.#maps.target.remove(this.#row);
    this.#row = row;
  }

  /** Gives peer number `n` an address of each family and an identity. */
  know(n: number, identity: NumericIdentity): void {
    for (const address of Object.values(addressesOf(n))) this.#datapath.maps.know(address, identity);
  }

  forget(n: number): void {
    for (const address of Object.values(addressesOf(n))) this.#datapath.maps.unknow(address);
  }

  /** Sends a packet of the flow from the pod, or to it, and gives the number of the run. */
  send(flow: Flow, peer: number): number {
    const run = ++this.#runs;
    const family = flow.protocol === protocolNumber.ICMPv6 ? "ipv6" : "ipv4";
    const ends = [this.#pod[family], addressesOf(peer)[family]] as const;
    const [source, destination] = flow.direction === "egress" ? ends : [ends[1], ends[0]];
    const spec: PacketSpec = { ip: { source, destination }, ...transportOf(flow, run, { source: destination, destination: source }) };
    const { ifindex, mac, nodeMac } = this.#pod;
    // The receiver's MAC is looked at by nobody: it carries the number of the run into the record.
    const tag = macFromBytes(Uint8Array.of(2, 0, ...numberBytes(run)));
    const ethernet = { source: flow.direction === "egress" ? mac : nodeMac, destination: tag };
    const program = flow.direction === "egress" ? "cil_from_container" : "cil_to_container";
    const where = flow.direction === "egress" ? { ifindex, ingressIfindex: ifindex } : { ifindex };
    this.#datapath.runFast(program, buildPacket({ ...spec, ethernet }), where);
    return run;
  }

  /** What the kernel said about the runs since the last call; a run that is not there passed without a question. */
  async verdicts(): Promise<ReadonlyMap<number, KernelVerdict>> {
    const found = new Map<number, KernelVerdict>();
    for (const { type, verdict, cookie, data } of await this.#datapath.settle()) {
      const run = Buffer.from(data).readUInt32BE(2);
      // Without a verdict no policy was asked: then something else dropped the packet.
      if (type === EventType.POLICY_VERDICT) found.set(run, { verdict, cookie });
      else if (type === EventType.DROP && !found.has(run)) found.set(run, { verdict, cookie: undefined });
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#maps[Symbol.dispose]();
    await this.#datapath[Symbol.asyncDispose]();
  }
}

function numberBytes(n: number): number[] {
  return [(n >>> 24) & 0xff, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff];
}

/** The addresses of peer number `n`. */
function addressesOf(n: number): { readonly ipv4: IpAddress; readonly ipv6: IpAddress } {
  const [, high = 0, middle = 0, low = 0] = numberBytes(n);
  return { ipv4: `11.${high}.${middle}.${low}` as IpAddress, ipv6: `fd11::${n.toString(16)}` as IpAddress };
}

/** The transport part of a packet of this flow that no packet before had. */
function transportOf({ protocol, port }: Flow, run: number, back: PacketSpec["ip"]): Omit<PacketSpec, "ip"> {
  const ports = { sourcePort: EPHEMERAL + (run % EPHEMERAL), destinationPort: port };
  if (protocol === protocolNumber.TCP) return { tcp: { ...ports, flags: TcpFlag.syn } };
  if (protocol === protocolNumber.UDP) return { udp: ports };
  if (protocol === protocolNumber.SCTP) return { sctp: ports };
  // Errors quote a packet of their receiver's; for the others that is just their content.
  const quoted = buildPacket({ ip: back, udp: { sourcePort: ports.sourcePort, destinationPort: 9 } });
  return { icmp: { type: port, id: run & 0xffff }, payload: quoted };
}
