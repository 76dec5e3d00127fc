import type { NamedPort } from "#endpoint/endpoint.ts";
import type { Ipcache } from "#ipcache/ipcache.ts";
import type { ReflectorHandler } from "#k8s/reflector.ts";
import type { CiliumEndpoint } from "#k8s/types.ts";
import type { Database } from "#statedb/database.ts";
import { type IpAddress, parseAddress } from "#types/addr.ts";
import { NumericIdentity } from "#types/identity.ts";
import { hostPrefix } from "#types/prefix.ts";
import { parseProtocol } from "#types/proto.ts";
import type { Identities } from "./identities.ts";

/**
 * All CiliumEndpoints of the cluster → ipcache: which identity a pod's address has, and on which node it is. Also the named
 * ports that pods bring to their identity. `onOwn` is told of the objects that say they are of this node.
 */
export function createCiliumEndpointHandler(
  deps: {
    readonly db: Database;
    readonly ipcache: Ipcache;
    readonly identities: Identities;
    readonly onOwn: (object: CiliumEndpoint, gone: boolean) => void;
  },
  config: { readonly isOwnNode: (ip: string) => boolean },
): ReflectorHandler<CiliumEndpoint> {
  const { db, ipcache, identities } = deps;
  const claimed = new Map<string, readonly IpAddress[]>();

  const put = (object: CiliumEndpoint) => {
    const owner = ownerOf(object);
    const node = parseAddress(object.status?.networking?.node ?? "");
    const isOwn = node !== undefined && config.isOwnNode(node);
    if (isOwn) deps.onOwn(object, false);
    const identity = identityOf(object);
    const addresses = identity === undefined ? [] : addressesOf(object);
    if (identity !== undefined) {
      const pod = { namespace: object.metadata.namespace ?? "default", name: object.metadata.name };
      const common = { identity, source: "endpoint", owner, nodeIp: isOwn ? undefined : node, pod } as const;
      for (const address of addresses) ipcache.claim({ ...common, prefix: hostPrefix(address) });
    }
    release(owner, addresses);
    if (addresses.length > 0) claimed.set(owner, addresses);
    identities.setNamedPorts(owner, identity, namedPortsOf(object));
  };
  const release = (owner: string, keep: readonly IpAddress[]) => {
    for (const address of claimed.get(owner) ?? []) {
      if (!keep.includes(address)) ipcache.release({ prefix: hostPrefix(address), source: "endpoint", owner });
    }
    claimed.delete(owner);
  };
  const remove = (owner: string) => {
    release(owner, []);
    identities.setNamedPorts(owner, undefined, []);
  };
  return {
    replace(objects) {
      db.write(() => {
        const listed = new Set(objects.map(ownerOf));
        for (const owner of [...claimed.keys()]) if (!listed.has(owner)) remove(owner);
        for (const object of objects) put(object);
      });
    },
    upsert: (object) => db.write(() => put(object)),
    remove(object) {
      db.write(() => remove(ownerOf(object)));
      deps.onOwn(object, true);
    },
  };
}

/** Undefined when there is none yet, or none that can be. */
function identityOf({ status }: CiliumEndpoint): NumericIdentity | undefined {
  const id = status?.identity?.id;
  return id !== undefined && Number.isInteger(id) && id > 0 && id <= 0xffff_ffff ? NumericIdentity(id) : undefined;
}

function ownerOf({ metadata }: CiliumEndpoint): string {
  return `${metadata.namespace ?? "default"}/${metadata.name}`;
}

function addressesOf({ status }: CiliumEndpoint): IpAddress[] {
  const texts = (status?.networking?.addressing ?? []).flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6]);
  return texts.flatMap((text) => (text ? [parseAddress(text)] : [])).filter((address) => address !== undefined);
}

function namedPortsOf({ status }: CiliumEndpoint): NamedPort[] {
  return (status?.["named-ports"] ?? []).map(({ name, port, protocol }) => ({ name, port, protocol: parseProtocol(protocol) ?? 6 }));
}
