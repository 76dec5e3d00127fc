import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { labelSet } from "#labels/label-set.ts";
import { parseAddress } from "#types/addr.ts";
import { EndpointId } from "#types/endpoint-id.ts";
import { NumericIdentity } from "#types/identity.ts";
import { parseMac } from "#types/mac.ts";
import type { Endpoint } from "./endpoint.ts";

/** An endpoint's file: the row, labels as texts. */
const FILE = "endpoint.json";

/** Remembers an endpoint, atomically: the old file or the new one, never half of it. */
export function saveEndpoint(stateDirectory: string, endpoint: Endpoint): void {
  const directory = join(stateDirectory, String(endpoint.id));
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const next = join(directory, `.${FILE}.new`);
  writeFileSync(next, `${JSON.stringify({ ...endpoint, labels: endpoint.labels.texts })}\n`, { mode: 0o600 });
  renameSync(next, join(directory, FILE));
}

export function forgetEndpoint(stateDirectory: string, id: EndpointId): void {
  rmSync(join(stateDirectory, String(id)), { recursive: true, force: true });
}

/** What could not be read, with the reason, beside the endpoints that could. Nothing unreadable is trusted. */
export interface Restored {
  readonly endpoints: readonly Endpoint[];
  readonly broken: readonly { readonly path: string; readonly reason: string }[];
}

/** The endpoints as they were saved, in the state `restoring`. */
export function loadEndpoints(stateDirectory: string): Restored {
  const endpoints: Endpoint[] = [];
  const broken: { path: string; reason: string }[] = [];
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(stateDirectory)) {
    if (!/^\d+$/.test(name)) continue;
    const path = join(stateDirectory, name, FILE);
    try {
      endpoints.push(parseEndpoint(JSON.parse(readFileSync(path, "utf8")), Number(name)));
    } catch (thrown) {
      broken.push({ path, reason: thrown instanceof Error ? thrown.message : String(thrown) });
    }
  }
  return { endpoints: endpoints.sort((a, b) => a.id - b.id), broken };
}

type Fields = Record<string, unknown>;

function parseEndpoint(raw: unknown, id: number): Endpoint {
  const row = fields(raw, "endpoint");
  if (row.id !== id) throw new Error(`id: found ${String(row.id)}, the directory says ${id}`);
  const pod = fields(row.pod, "pod");
  const link = fields(row.interface, "interface");
  const mac = (value: unknown, name: string) => parseMac(text(value, name)) ?? refuse(name, value);
  const address = (value: unknown, name: string) =>
    value === undefined ? undefined : (parseAddress(text(value, name)) ?? refuse(name, value));
  return {
    id: EndpointId(id),
    containerId: text(row.containerId, "containerId"),
    pod: { namespace: text(pod.namespace, "pod.namespace"), name: text(pod.name, "pod.name"), uid: text(pod.uid, "pod.uid") },
    interface: {
      name: text(link.name, "interface.name"),
      index: Number.isInteger(link.index) ? (link.index as number) : refuse("interface.index", link.index),
      hostMac: mac(link.hostMac, "interface.hostMac"),
      mac: mac(link.mac, "interface.mac"),
      ifname: text(link.ifname, "interface.ifname"),
      netns: text(link.netns, "interface.netns"),
    },
    ipv4: address(row.ipv4, "ipv4"),
    ipv6: address(row.ipv6, "ipv6"),
    labels: labelSet(list(row.labels, "labels").map((label) => text(label, "labels"))),
    identity: row.identity === undefined ? undefined : NumericIdentity(row.identity as number),
    state: "restoring",
    namedPorts: list(row.namedPorts, "namedPorts").map((port) => {
      const { name, protocol, port: number } = fields(port, "namedPorts");
      return { name: text(name, "namedPorts.name"), protocol: Number(protocol), port: Number(number) };
    }),
    serviceAccount: text(row.serviceAccount, "serviceAccount"),
    auditMode: row.auditMode === true,
    regeneration: 0,
    createdAt: text(row.createdAt, "createdAt"),
  };
}

function fields(value: unknown, name: string): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : refuse(name, value);
}

function list(value: unknown, name: string): readonly unknown[] {
  return Array.isArray(value) ? value : refuse(name, value);
}

function text(value: unknown, name: string): string {
  return typeof value === "string" ? value : refuse(name, value);
}

function refuse(name: string, value: unknown): never {
  throw new Error(`${name}: found ${JSON.stringify(value) ?? "nothing"}`);
}
