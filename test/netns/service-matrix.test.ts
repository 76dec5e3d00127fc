import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Direction, DropReason } from "#datapath/gen/enums.ts";
import type { Netns } from "#sys/netns.ts";
import type { ServiceSpec } from "../../bpf/tests/service-maps.ts";
import type { Family } from "./nodes.ts";
import { type Answer, callTcp, callUdp, isCounted } from "./service-traffic.ts";
import {
  ANY,
  BALANCER,
  CLIENT,
  CLUSTER_IP,
  EXTERNAL,
  LOOPBACK,
  makeServiceWorld,
  type Place,
  type ServiceWorld,
  TARGET,
} from "./service-world.ts";

const [TCP, UDP] = [6, 17];
const [HOST, WORLD, REMOTE_NODE, NOBODY] = [1, 2, 6, 10099];
const CLOSED = 9;
const FRAGMENTED = 5000;

type Client = "pod" | "pod's socket" | "node's process" | "world";
type Kind = "ClusterIP" | "NodePort" | "NodePort of the other node" | "LoadBalancer" | "externalIP" | "hostPort";
type Backend = "near" | "far" | "self" | "host" | "other";
type Mode = "snat" | "dsr" | "hybrid";

/** Who calls what, and where it goes: a pod on the node called or on the other, the caller itself, a process of that node or the other. */
interface Cell {
  readonly client: Client;
  readonly kind: Kind;
  readonly backend: Backend;
  readonly mode: Mode;
}

const PORTS: Readonly<Record<Kind, number>> = {
  ClusterIP: 80,
  NodePort: 30080,
  "NodePort of the other node": 30080,
  LoadBalancer: 81,
  externalIP: 82,
  hostPort: 8880,
};
const FLAGS: Readonly<Record<Kind, ServiceSpec["flags"] & object>> = {
  ClusterIP: [],
  NodePort: ["ROUTABLE", "NODE_PORT"],
  "NodePort of the other node": ["ROUTABLE", "NODE_PORT"],
  LoadBalancer: ["ROUTABLE", "LOAD_BALANCER"],
  externalIP: ["ROUTABLE", "EXTERNAL_IP"],
  hostPort: ["ROUTABLE", "HOST_PORT"],
};
const KINDS = Object.keys(PORTS) as Kind[];
const WORLDS: readonly Kind[] = ["NodePort", "LoadBalancer", "externalIP", "hostPort"];
const BACKENDS: Readonly<Record<Client, readonly Backend[]>> = {
  pod: ["near", "far", "self", "host", "other"],
  "pod's socket": ["near", "far", "self", "host", "other"],
  "node's process": ["near", "far", "host", "other"],
  world: ["near", "far", "host", "other"],
};
const CELLS: readonly Cell[] = (Object.keys(BACKENDS) as Client[]).flatMap((client) =>
  (client === "world" ? WORLDS : KINDS).flatMap((kind) =>
    BACKENDS[client]
      // A host port is a pod's of the same node.
      .filter((backend) => kind !== "hostPort" || (backend !== "far" && backend !== "other"))
      .flatMap((backend) =>
        (client === "world" && backend === "far" ? (["snat", "dsr", "hybrid"] as const) : (["snat"] as const)).map((mode) => ({
          client,
          kind,
          backend,
          mode,
        })),
      ),
  ),
);

describe("every way to a service", () => {
  let all: ServiceWorld;

  before(async () => {
    all = await makeServiceWorld(`csm${process.pid}`);
  });

  after(() => all[Symbol.asyncDispose]());

  const netnsOf = ({ client: who }: Cell): Netns =>
    (who === "world" ? all.world : who === "node's process" ? all.nodes[0] : all.client).netns;
  const addressOf = ({ kind }: Cell): Place => {
    const places: Partial<Record<Kind, Place>> = { ClusterIP: CLUSTER_IP, LoadBalancer: BALANCER, externalIP: EXTERNAL };
    return places[kind] ?? (kind === "NodePort of the other node" ? all.nodes[1] : all.nodes[0]);
  };
  const backendOf = ({ backend }: Cell): Place =>
    backend === "host" ? all.nodes[0] : backend === "other" ? all.nodes[1] : all.pods[backend];
  const bySocket = ({ client: who }: Cell): boolean => who === "pod's socket" || who === "node's process";
  /** Whether the node that is called stands in for the caller. */
  const isNatted = (cell: Cell, protocol: number): boolean => {
    if (cell.client === "pod" && cell.kind === "NodePort of the other node") return cell.backend !== "far" && cell.backend !== "other";
    if (cell.client !== "world") return false;
    if (cell.backend === "other") return true;
    return cell.backend === "far" && (cell.mode === "snat" || (cell.mode === "hybrid" && protocol === UDP));
  };
  /** Whom the backend sees. */
  const caller = (cell: Cell, protocol: number): { readonly at: Place; readonly identity: number } => {
    const through = cell.kind === "NodePort of the other node" ? all.nodes[1] : all.nodes[0];
    if (isNatted(cell, protocol)) return { at: through, identity: REMOTE_NODE };
    if (cell.client === "world") return { at: all.world, identity: WORLD };
    if (cell.client === "node's process") return { at: all.nodes[0], identity: cell.backend === "far" ? REMOTE_NODE : HOST };
    return { at: cell.backend === "self" && !bySocket(cell) ? LOOPBACK : all.client, identity: CLIENT };
  };

  const define = (cell: Cell, family: Family, port = TARGET) => {
    const dsr = (protocol: number) => cell.mode === "dsr" || (cell.mode === "hybrid" && protocol === TCP);
    const backends = [{ ip: backendOf(cell)[family], port }];
    for (const node of all.nodes) {
      node.services.clear();
      node.maps.ct.clear();
      const own = !["NodePort", "NodePort of the other node", "hostPort"].includes(cell.kind);
      for (const address of own ? [addressOf(cell)] : [node, ANY]) {
        for (const protocol of [TCP, UDP]) {
          const flags = [...FLAGS[cell.kind], ...(dsr(protocol) ? (["DSR"] as const) : [])];
          node.services.set({ ip: address[family], port: PORTS[cell.kind], protocol, backends, flags });
        }
      }
    }
  };
  const allow = (cell: Cell, peerOf: (protocol: number) => number) => {
    const rules = (port: number) => [TCP, UDP].map((protocol) => ({ peer: peerOf(protocol), protocol, port }));
    for (const pod of Object.values(all.pods)) pod.node.maps.setPolicy(pod, {});
    if (cell.backend === "self" && !isNatted(cell, TCP)) all.client.node.maps.setPolicy(all.client, { ingress: [], egress: [] });
    else if (cell.backend === "near" || cell.backend === "far")
      all.pods[cell.backend].node.maps.setPolicy(all.pods[cell.backend], { ingress: rules(TARGET) });
  };
  const call = (cell: Cell, family: Family, protocol: number, size = 100, signal?: AbortSignal): Promise<Answer> => {
    const [netns, address, port] = [netnsOf(cell), addressOf(cell)[family], PORTS[cell.kind]];
    return protocol === TCP ? callTcp(netns, address, port, signal) : callUdp(netns, address, port, size, signal ? { signal } : {});
  };

  const reaches = async (cell: Cell, family: Family) => {
    define(cell, family);
    allow(cell, (protocol) => caller(cell, protocol).identity);
    const expected = (protocol: number): Answer => ({ server: cell.backend, client: caller(cell, protocol).at[family] });
    assert.deepEqual(await call(cell, family, TCP), expected(TCP));
    assert.deepEqual(await call(cell, family, UDP), expected(UDP));
    assert.deepEqual(await call(cell, family, UDP, FRAGMENTED), expected(UDP));
    if (bySocket(cell))
      assert.deepEqual(await callUdp(netnsOf(cell), addressOf(cell)[family], PORTS[cell.kind], 100, { connected: false }), expected(UDP));
  };
  /** Another identity than the caller's may call: the backend's node drops the call for that reason. */
  const isDenied = async (cell: Cell, family: Family) => {
    allow(cell, () => NOBODY);
    const { node } = cell.backend === "far" ? all.pods.far : all.pods.near;
    const denied = () => node.counted(DropReason.POLICY_DENIED, Direction.INGRESS);
    for (const protocol of [TCP, UDP]) await isCounted((signal) => call(cell, family, protocol, 100, signal), denied);
  };
  const isRefused = async (cell: Cell, family: Family) => {
    define(cell, family, CLOSED);
    allow(cell, (protocol) => caller(cell, protocol).identity);
    for (const pod of [all.pods.near, all.pods.far]) pod.node.maps.setPolicy(pod, {});
    for (const protocol of [TCP, UDP]) await assert.rejects(call(cell, family, protocol), /ECONNREFUSED/, `protocol ${protocol}`);
  };

  const run = (cells: readonly Cell[], title: string, check: (cell: Cell, family: Family) => Promise<void>) => {
    for (const family of ["ipv4", "ipv6"] as const) {
      it(`${title}: ${family}`, { timeout: 120_000 }, async (t) => {
        for (const cell of cells) {
          await t.test(`${cell.kind} to ${cell.backend}${cell.mode === "snat" ? "" : `, ${cell.mode}`}`, async () => {
            await (bySocket(cell) ? all.cgroup.within(() => check(cell, family)) : check(cell, family));
          });
        }
      });
    }
  };

  for (const who of Object.keys(BACKENDS) as Client[]) {
    const cells = CELLS.filter((cell) => cell.client === who);
    run(cells, `${who}: TCP, UDP and fragments reach the backend, which knows the caller`, reaches);
    const judged = cells.filter(({ backend }) => backend === "near" || backend === "far");
    run(judged, `${who}: policy of the backend is asked about the caller`, async (cell, family) => {
      define(cell, family);
      await isDenied(cell, family);
    });
    run(cells, `${who}: a closed port is refused, and UDP told by ICMP`, isRefused);
  }
});
