import { execFileSync } from "node:child_process";

/** Two pods' worth of namespaces joined by a routing namespace, no eBPF and no policy: what the datapath is compared with. */
export interface PlainRouting extends Disposable {
  /** Runs a command in the client's or the server's namespace: put this before it. */
  readonly client: readonly string[];
  readonly server: readonly string[];
  readonly serverAddress: string;
}

const PREFIX = "cilia-bench";

function ip(...args: string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
}

/** Needs root. Disposing removes the namespaces. */
export function createPlainRouting(): PlainRouting {
  const names = { router: `${PREFIX}-router`, client: `${PREFIX}-client`, server: `${PREFIX}-server` };
  const remove = () => {
    for (const name of Object.values(names)) {
      try {
        ip("netns", "del", name);
      } catch {
        // It was not there.
      }
    }
  };
  remove();
  for (const name of Object.values(names)) {
    ip("netns", "add", name);
    ip("-n", name, "link", "set", "lo", "up");
  }
  execFileSync("ip", ["netns", "exec", names.router, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  for (const [index, side] of (["client", "server"] as const).entries()) {
    const [pod, gateway] = [`10.99.${index}.2`, `10.99.${index}.1`];
    ip("-n", names.router, "link", "add", side, "type", "veth", "peer", "name", "eth0", "netns", names[side]);
    ip("-n", names.router, "addr", "add", `${gateway}/24`, "dev", side);
    ip("-n", names.router, "link", "set", side, "up");
    ip("-n", names[side], "addr", "add", `${pod}/24`, "dev", "eth0");
    ip("-n", names[side], "link", "set", "eth0", "up");
    ip("-n", names[side], "route", "add", "default", "via", gateway);
  }
  return {
    client: ["ip", "netns", "exec", names.client],
    server: ["ip", "netns", "exec", names.server],
    serverAddress: "10.99.1.2",
    [Symbol.dispose]: remove,
  };
}
