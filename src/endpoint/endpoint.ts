import type { LabelSet } from "#labels/label-set.ts";
import type { Database } from "#statedb/database.ts";
import type { WritableTable } from "#statedb/table.ts";
import type { IpAddress } from "#types/addr.ts";
import type { EndpointId } from "#types/endpoint-id.ts";
import type { NumericIdentity } from "#types/identity.ts";
import type { MacAddress } from "#types/mac.ts";

export type EndpointState =
  | "waiting-for-identity"
  | "not-ready"
  | "waiting-to-regenerate"
  | "regenerating"
  | "restoring"
  | "ready"
  | "disconnecting"
  | "disconnected"
  | "invalid";

export interface NamedPort {
  readonly name: string;
  /** IP protocol number. */
  readonly protocol: number;
  readonly port: number;
}

/** The veth of an endpoint. */
export interface EndpointInterface {
  /** Name and index of the node's end. */
  readonly name: string;
  readonly index: number;
  readonly hostMac: MacAddress;
  readonly mac: MacAddress;
  readonly ifname: string;
  readonly netns: string;
}

export interface PodRef {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** One pod's network attachment on this node. */
export interface Endpoint {
  readonly id: EndpointId;
  readonly containerId: string;
  readonly pod: PodRef;
  readonly interface: EndpointInterface;
  readonly ipv4: IpAddress | undefined;
  readonly ipv6: IpAddress | undefined;
  readonly labels: LabelSet;
  /** Undefined while it is being allocated: nothing passes. */
  readonly identity: NumericIdentity | undefined;
  readonly state: EndpointState;
  readonly namedPorts: readonly NamedPort[];
  readonly serviceAccount: string;
  /** Let pass what policy denies, whatever the node's setting is. */
  readonly auditMode: boolean;
  /** Counts up whenever the endpoint must be written to the kernel again although nothing in it changed. */
  readonly regeneration: number;
  readonly createdAt: string;
}

/** The table of this node's endpoints. Indexes: `ip`, `identity`, `ifindex`, `pod` (`namespace/name`), `attachment` (`containerId:ifname`). */
export function createEndpointTable(db: Database): WritableTable<Endpoint> {
  return db.createTable<Endpoint>({
    name: "endpoints",
    key: (row) => row.id,
    indexes: {
      ip: addressesOf,
      identity: (row) => row.identity,
      ifindex: (row) => row.interface.index,
      pod: (row) => podKey(row.pod),
      attachment: (row) => attachmentKey(row.containerId, row.interface.ifname),
    },
    columns: {
      ID: (row) => row.id,
      POD: (row) => podKey(row.pod),
      IDENTITY: (row) => row.identity,
      IPV4: (row) => row.ipv4,
      IPV6: (row) => row.ipv6,
      INTERFACE: (row) => row.interface.name,
      STATE: (row) => row.state,
    },
  });
}

export function addressesOf({ ipv4, ipv6 }: Pick<Endpoint, "ipv4" | "ipv6">): IpAddress[] {
  return [ipv4, ipv6].filter((address) => address !== undefined);
}

/** `namespace/name` */
export function podKey({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`;
}

/** What CNI knows an endpoint by. */
export function attachmentKey(containerId: string, ifname: string): string {
  return `${containerId}:${ifname}`;
}

/** The policy of two endpoints is the same when this is: identity and named ports are all that it depends on. */
export function subjectKey({ identity, namedPorts }: Pick<Endpoint, "identity" | "namedPorts">): string {
  const ports = namedPorts.map(({ name, protocol, port }) => `${name}=${protocol}/${port}`).sort();
  return [identity ?? 0, ...ports].join(" ");
}
