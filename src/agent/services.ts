import { podKey } from "#endpoint/endpoint.ts";
import type { ReflectorHandler } from "#k8s/reflector.ts";
import type { EndpointSlice, KubeObject, Service } from "#k8s/types.ts";
import { label } from "#labels/label.ts";
import { labelSetOf } from "#labels/label-set.ts";
import { frontendsWithBackends } from "#loadbalancer/select.ts";
import { type Frontend, formatL4Address } from "#loadbalancer/types.ts";
import type { ServiceView } from "#policy/repository.ts";
import type { Step } from "#reconciler/pipeline.ts";
import type { Database } from "#statedb/database.ts";
import type { Table } from "#statedb/table.ts";
import { parseProtocol } from "#types/proto.ts";

export interface Services {
  /** By address; index `ip`. */
  readonly frontends: Table<Frontend>;
  readonly serviceHandler: ReflectorHandler<Service>;
  readonly sliceHandler: ReflectorHandler<EndpointSlice>;
  /** Recomputes what changed. Before the reconciler of the frontends. */
  readonly step: Step;
  /** All services with a selector or backends, as toServices rules see them. */
  views(): ServiceView[];
  expect(source: string): () => void;
}

export interface ServicesDeps {
  readonly db: Database;
  readonly onApiServers: (slices: readonly EndpointSlice[]) => void;
  readonly onChange: () => void;
}

const SERVICE_LABEL = "kubernetes.io/service-name";

/** Services and slices → frontends. */
export function createServices({ db, onApiServers, onChange }: ServicesDeps): Services {
  const frontends = db.createTable<Frontend>({
    name: "frontends",
    key: (row) => formatL4Address(row.address),
    indexes: { ip: (row) => row.address.ip, service: (row) => podKey(row.service) },
    columns: {
      ADDRESS: (row) => formatL4Address(row.address),
      SERVICE: (row) => podKey(row.service),
      TYPE: (row) => row.type,
      BACKENDS: (row) => row.backends.map(({ address, state }) => `${formatL4Address(address)} (${state})`),
    },
  });
  const services = new Map<string, Service>();
  const slices = new Map<string, Map<string, EndpointSlice>>();
  const stale = new Set<string>();
  let wake = () => {};

  const refresh = (key: string) => {
    const service = services.get(key);
    const own = [...(slices.get(key)?.values() ?? [])];
    const rows = service ? frontendsWithBackends(service, own) : [];
    const kept = new Set(rows.map(({ address }) => formatL4Address(address)));
    for (const row of frontends.by("service", key))
      if (!kept.has(formatL4Address(row.address))) frontends.delete(formatL4Address(row.address));
    for (const row of rows) {
      const old = frontends.get(formatL4Address(row.address));
      if (JSON.stringify(old) !== JSON.stringify(row)) frontends.set(row);
    }
    if (key === "default/kubernetes") onApiServers(own);
  };
  const touch = (key: string) => {
    stale.add(key);
    wake();
  };
  const putSlice = (slice: EndpointSlice) => {
    const key = serviceKeyOf(slice);
    const bucket = slices.get(key) ?? new Map<string, EndpointSlice>();
    slices.set(key, bucket.set(slice.metadata.name, slice));
    touch(key);
  };
  const removeSlice = (slice: EndpointSlice) => {
    const key = serviceKeyOf(slice);
    slices.get(key)?.delete(slice.metadata.name);
    if (slices.get(key)?.size === 0) slices.delete(key);
    touch(key);
  };
  return {
    frontends,
    expect: (source) => frontends.expect(source),
    serviceHandler: {
      replace(objects) {
        for (const key of services.keys()) touch(key);
        services.clear();
        for (const service of objects) putService(service);
      },
      upsert: (service) => putService(service),
      remove(service) {
        services.delete(objectKey(service));
        touch(objectKey(service));
      },
    },
    sliceHandler: {
      replace(objects) {
        for (const key of slices.keys()) touch(key);
        slices.clear();
        for (const slice of objects) putSlice(slice);
      },
      upsert: putSlice,
      remove: removeSlice,
    },
    step: {
      name: "services",
      onWork(fn) {
        wake = fn;
        if (stale.size > 0) fn();
      },
      run() {
        if (stale.size === 0) return;
        db.write(() => {
          for (const key of stale) refresh(key);
        });
        stale.clear();
        onChange();
      },
    },
    views: () => [...services].map(([key, service]) => serviceView(service, [...(slices.get(key)?.values() ?? [])])),
  };

  function putService(service: Service) {
    services.set(objectKey(service), service);
    touch(objectKey(service));
  }
}

function objectKey({ metadata }: KubeObject): string {
  return podKey({ namespace: metadata.namespace ?? "default", name: metadata.name });
}

function serviceKeyOf({ metadata }: EndpointSlice): string {
  return podKey({ namespace: metadata.namespace ?? "default", name: metadata.labels?.[SERVICE_LABEL] ?? "" });
}

function serviceView(service: Service, slices: readonly EndpointSlice[]): ServiceView {
  return {
    namespace: service.metadata.namespace ?? "default",
    name: service.metadata.name,
    labels: labelSetOf(Object.entries(service.metadata.labels ?? {}).map(([key, value]) => label(key, value))),
    selector: service.spec?.selector,
    endpoints: slices.flatMap((slice) => (slice.endpoints ?? []).flatMap(({ addresses }) => addresses)),
    ports: slices.flatMap((slice) => (slice.ports ?? []).flatMap((target) => targetPorts(service, target))),
  };
}

type SlicePort = NonNullable<EndpointSlice["ports"]>[number];

/** Which ports of a service lead to this port of its endpoints. */
function targetPorts(service: Service, target: SlicePort): NonNullable<ServiceView["ports"]> {
  const named = (service.spec?.ports ?? []).filter(({ name }) => (name ?? "") === (target.name ?? ""));
  return named.map(({ port }) => ({ protocol: parseProtocol(target.protocol ?? "TCP") ?? 0, port, targetPort: target.port ?? port }));
}
