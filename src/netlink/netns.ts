import { createNetnsAt, deleteNetnsAt, type Netns, openNetns } from "#sys/netns.ts";

const DIRECTORY = "/run/netns";

/** A namespace as `ip netns add` makes it; nothing is up in it. Throws EEXIST. */
export function createNetns(name: string): Netns {
  const path = netnsPath(name);
  createNetnsAt(path);
  return openNetns(path);
}

/** False when there was none of that name. Its links go with it, a little later. */
export function deleteNetns(name: string): boolean {
  return deleteNetnsAt(netnsPath(name));
}

export function netnsPath(name: string): string {
  return `${DIRECTORY}/${name}`;
}
