import { execFileSync } from "node:child_process";
import type { LoadedObject } from "#ebpf/bpf.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { createNetnsAt, deleteNetnsAt, inNetns, type Netns, openNetns } from "#sys/netns.ts";
import type { IpAddress } from "#types/addr.ts";
import { ifindexOf, ip, loadFor, type RealNode } from "./nodes.ts";

const SANDBOX = new URL("../../build/cilia-sandbox", import.meta.url).pathname;

/** A machine out of the cluster. */
export interface Stranger {
  readonly netns: Netns;
  readonly ipv4: IpAddress;
  readonly ipv6: IpAddress;
}

/** One Ethernet for nodes and machines out of the cluster, so that answers may go another way than questions came. */
export class Lan implements Disposable {
  readonly #prefix: string;
  readonly #path: string;
  readonly #netns: Netns;
  readonly #objects: LoadedObject[] = [];
  readonly #strangers: { readonly stranger: Stranger; readonly path: string }[] = [];

  constructor(prefix: string) {
    this.#prefix = prefix;
    this.#path = `/run/netns/${prefix}lan`;
    createNetnsAt(this.#path);
    this.#netns = openNetns(this.#path);
    ip(this.#path, "link add br0 type bridge", "link set br0 up");
  }

  #plug(name: string, netns: string): void {
    ip(this.#path, `link add ${name} type veth peer name eth0 netns ${netns}`, `link set ${name} master br0 up`);
  }

  /** Joins the nodes' eth0 and sets their stacks up. */
  join(nodes: readonly RealNode[]): void {
    for (const node of nodes) this.#plug(`node${node.number}`, node.path);
    for (const node of nodes) node.configure(nodes.filter((other) => other !== node));
  }

  /** The switch takes what a node's driver sends: a veth without a driver's program of its own takes it from no other. */
  takeFromDriver(node: RealNode): void {
    const passing = loadFor("bpf_xdp", { enableNodeport: 0 });
    this.#objects.push(passing);
    inNetns(this.#netns, () =>
      openBpf().attachXdp(passing.program("cil_xdp_entry"), ifindexOf(this.#path, `node${node.number}`), "native"),
    );
  }

  /** What leaves eth0 has its checksums, as from a network card; a driver's program counts on that. */
  static finishChecksums(netns: Netns): void {
    execFileSync("nsenter", [`--net=${netns.path}`, SANDBOX, "offload", "eth0", "checksums", "off"]);
  }

  /** A machine with an address of the nodes' network; it sends to `routes` by way of a node. */
  addStranger(via: RealNode, routes: readonly IpAddress[]): Stranger {
    const number = this.#strangers.length + 1;
    const path = `/run/netns/${this.#prefix}w${number}`;
    createNetnsAt(path);
    this.#plug(`world${number}`, path);
    const addresses = { ipv4: `172.18.0.${100 + number}` as IpAddress, ipv6: `fd00:172:18::${100 + number}` as IpAddress };
    ip(
      path,
      "link set lo up",
      "link set eth0 up",
      `addr add ${addresses.ipv4}/24 dev eth0`,
      `addr add ${addresses.ipv6}/64 dev eth0 nodad`,
      ...routes.map((to) => `route add ${to} via ${to.includes(":") ? via.ipv6 : via.ipv4}`),
    );
    const stranger = { netns: openNetns(path), ...addresses };
    this.#strangers.push({ stranger, path });
    return stranger;
  }

  [Symbol.dispose](): void {
    for (const { stranger, path } of this.#strangers) {
      stranger.netns.close();
      deleteNetnsAt(path);
    }
    for (const object of this.#objects) object.close();
    this.#netns.close();
    deleteNetnsAt(this.#path);
  }
}
