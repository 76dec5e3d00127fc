import { parseAllDocuments } from "yaml";
import { maps as specs } from "#datapath/gen/maps.ts";
import type { LbSkipKey } from "#datapath/gen/structs.ts";
import { createMaglevTables } from "#datapath/reconcile/maglev.ts";
import { entryAddress } from "#datapath/reconcile/service-entries.ts";
import { createServiceTarget } from "#datapath/reconcile/services.ts";
import { createSkipTarget } from "#datapath/reconcile/skips.ts";
import { dumpServices, type LbDump } from "#datapath/service-dump.ts";
import { createFakeBpf, type FailureInjector } from "#ebpf/fake.ts";
import { createSkips, type PodPlace, type SkipRow, type Skips } from "#loadbalancer/skips.ts";
import type { Source } from "#loadbalancer/source.ts";
import type { Frontend } from "#loadbalancer/types.ts";
import { createLoadBalancer, type LoadBalancer } from "#loadbalancer/writer.ts";
import { type Reconciler, startReconciler } from "#reconciler/reconciler.ts";
import { silentLogger } from "#runtime/logger.ts";
import type { Observer } from "#statedb/changes.ts";
import { createDatabase, type Database } from "#statedb/database.ts";
import { Prefix } from "#types/prefix.ts";

/** The load balancer of one node without a kernel: objects in, tables and maps out. */
export interface ScriptWorld extends AsyncDisposable {
  /** Runs one line; what it prints. */
  run(line: string): Promise<string>;
}

const SETTINGS = { algorithm: "random", mode: "snat", externalClusterIp: false, maglevSize: 251 } as const;

/** `files` are the YAML documents that lines name. `fail` is asked at every operation on a map. */
export function createScriptWorld(files: ReadonlyMap<string, string>, fail: FailureInjector): ScriptWorld {
  const kernel = createFakeBpf({ fail });
  const maps = {
    services: kernel.createMap(specs.ciliumLbServices),
    backends: kernel.createMap(specs.ciliumLbBackends),
    reverseNat: kernel.createMap(specs.ciliumLbReverseNat),
    sourceRanges: kernel.createMap(specs.ciliumLbSourceRange),
    affinityMatch: kernel.createMap(specs.ciliumLbAffinityMatch),
    maglev: kernel.createMapOfMaps(specs.ciliumLbMaglev),
  };
  const skipMap = kernel.createMap(specs.ciliumSkipLb);
  const endpoints = new Map<string, PodPlace>();
  let settings: Readonly<Record<string, unknown>> = SETTINGS;
  let node = { zone: "", label: "", addresses: ["192.0.2.1", "2001:db8::1"] as readonly string[] };
  let agent = startAgent();

  function startAgent(): Agent {
    const db = createDatabase();
    const balancer = createLoadBalancer(db, {
      nodeName: "n1",
      nodeLabels: () => (node.label === "" ? {} : { "service.cilium.io/node": node.label }),
      nodeAddresses: () => node.addresses,
      clusterIpOnly: settings["kube-proxy-replacement"] === "false",
      sourceRangesForAll: settings["bpf-lb-source-range-all-types"] === "true",
      redirectable: settings["lrp-address-matcher-cidrs"] === undefined ? [] : [Prefix(String(settings["lrp-address-matcher-cidrs"]))],
    });
    const listed = balancer.tables.frontends.expect("kubernetes");
    const place = () => ({ nodeName: "n1", zone: node.zone || undefined });
    // A restart fails as well when it cannot read the maps: it is tried until it can.
    const target = untilDone(() =>
      createServiceTarget(maps, createMaglevTables({ map: maps.maglev, expedite: (work) => work() }, SETTINGS.maglevSize), {
        ...SETTINGS,
        ...settings,
        place,
      }),
    );
    const options = { name: "services", table: balancer.tables.frontends, target, retry: { initial: 1, max: 2 } };
    const skips = createSkips(db, { frontends: balancer.tables.frontends, placeOf: (pod) => endpoints.get(pod) });
    const skipped = { name: "redirect-skips", table: skips.table, target: createSkipTarget(skipMap), retry: options.retry };
    const skipsListed = skips.expect("kubernetes");
    return {
      ...{ db, balancer, skips, changes: balancer.tables.frontends.observe() },
      listed() {
        listed();
        skipsListed();
      },
      reconciler: startReconciler({ log: silentLogger }, options),
      skipReconciler: startReconciler<SkipRow>({ log: silentLogger }, skipped),
    };
  }

  const commands: Readonly<Record<string, (words: readonly string[]) => Promise<string> | string>> = {
    async add(names) {
      for (const object of objectsOf(names)) sourceOf(agent.balancer, object).upsert(object);
      return settle();
    },
    async delete(names) {
      for (const object of objectsOf(names)) sourceOf(agent.balancer, object).remove(object);
      return settle();
    },
    async node(words) {
      const given = Object.fromEntries(words.map((word) => word.split("=")));
      node = { ...node, ...given, ...(given.addresses === undefined ? {} : { addresses: given.addresses.split(",") }) };
      agent.balancer.touchAll();
      await settle();
      return repaired();
    },
    /** `endpoint demo/web 5 12`: the pod is there, with this cookie of its namespace and this interface; without them it has gone. */
    endpoint([pod = "", cookie, ifindex]) {
      if (cookie === undefined) endpoints.delete(pod);
      else endpoints.set(pod, { netnsCookie: BigInt(cookie), ifindex: Number(ifindex) });
      agent.skips.refresh([], [pod]);
      return settle();
    },
    /** `set mode=dsr`: another setting; takes a restart. */
    set(words) {
      settings = { ...settings, ...Object.fromEntries(words.map((word) => word.split("="))) };
      return "";
    },
    async restart() {
      await agent.reconciler[Symbol.asyncDispose]();
      await agent.skipReconciler[Symbol.asyncDispose]();
      agent = startAgent();
      return "";
    },
    async listed() {
      agent.listed();
      await agent.reconciler.pruned;
      await agent.skipReconciler.pruned;
      return "";
    },
    show: (tables) => tables.map((name) => agent.db.show(name) ?? `there is no table ${name}\n`).join("\n"),
    maps: () => untilDone(() => formatDump(dumpServices(maps))),
    skips: () => untilDone(() => [...skipMap.keys()].map(formatSkip).sort().join("\n")),
    /** Somebody else writes into the maps. */
    corrupt() {
      for (const [key, value] of untilDone(() => [...maps.services.entries()]))
        untilDone(() => (key.slot === 0 ? maps.services.set(key, { ...value, count: 77, flags: 0 }) : maps.services.delete(key)));
      for (const id of untilDone(() => [...maps.backends.keys()])) untilDone(() => maps.backends.delete(id));
      for (const key of untilDone(() => [...skipMap.keys()])) untilDone(() => skipMap.delete(key));
      return "";
    },
    repaired,
  };

  /** Everything written so far is in the maps. */
  async function settle(): Promise<string> {
    agent.balancer.refresh();
    agent.skips.refresh(
      agent.changes.take().map(({ key }) => String(key)),
      [],
    );
    await agent.skipReconciler.reconciled(agent.skips.table.revision);
    await agent.reconciler.reconciled(agent.balancer.tables.frontends.revision);
    return "";
  }

  /** What others changed is as it was. */
  async function repaired(): Promise<string> {
    await agent.reconciler.audit();
    await agent.skipReconciler.audit();
    return settle();
  }

  function objectsOf(names: readonly string[]): KubeDocument[] {
    return names.flatMap((name) => {
      const text = files.get(name);
      if (text === undefined) throw new Error(`the script has no file ${name}`);
      const documents = parseAllDocuments(text);
      return (Array.isArray(documents) ? documents : []).map((document) => document.toJS() as KubeDocument);
    });
  }

  return {
    async run(line) {
      const [name = "", ...words] = line.split(/\s+/);
      const command = commands[name];
      if (command === undefined) throw new Error(`no command "${name}"; there are: ${Object.keys(commands).join(", ")}`);
      return command(words);
    },
    async [Symbol.asyncDispose]() {
      await agent.reconciler[Symbol.asyncDispose]();
      await agent.skipReconciler[Symbol.asyncDispose]();
    },
  };
}

interface Agent {
  readonly db: Database;
  readonly balancer: LoadBalancer;
  readonly listed: () => void;
  readonly reconciler: Reconciler;
  readonly skips: Skips;
  readonly changes: Observer<Frontend>;
  readonly skipReconciler: Reconciler;
}

interface KubeDocument {
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

function sourceOf(balancer: LoadBalancer, { kind }: KubeDocument): Source<KubeDocument> {
  const sources: Readonly<Record<string, unknown>> = {
    Service: balancer.services,
    EndpointSlice: balancer.slices,
    Pod: balancer.pods,
    CiliumLocalRedirectPolicy: balancer.redirects,
  };
  const source = sources[kind];
  if (source === undefined) throw new Error(`no source takes a ${kind}`);
  return source as Source<KubeDocument>;
}

/** For what the script itself does with maps, which must not fail. */
function untilDone<T>(work: () => T): T {
  for (let attempts = 0; ; attempts++) {
    try {
      return work();
    } catch (thrown) {
      if (attempts > 100) throw thrown;
    }
  }
}

function formatSkip({ netnsCookie, ifindex, ...key }: LbSkipKey): string {
  return `${ifindex === 0 ? `netns ${netnsCookie}` : `interface ${ifindex}`} skips ${entryAddress(key).text}`;
}

/** The maps as text, without the numbers that only the kernel cares for. */
function formatDump(dump: LbDump): string {
  const frontendOf = new Map(dump.slots.map(({ serviceId, frontend }) => [serviceId, frontend]));
  const heads = dump.slots.filter(({ slot }) => slot === 0);
  const lines = heads.map(({ frontend, scope, count, quarantined, flags, affinityTimeout }) => {
    const behind = dump.slots.filter((one) => one.frontend === frontend && one.scope === scope && one.slot > 0);
    const backends = behind.map(({ backend }) => backend ?? "?");
    const taking = backends.slice(0, count).join(" ");
    const rest = backends.slice(count).join(" ");
    const words = [...flags, ...(affinityTimeout > 0 ? [`${affinityTimeout}s`] : [])].join(", ");
    return `${frontend} ${scope} [${words}] => ${taking || "-"}${quarantined > 0 || rest !== "" ? ` (not: ${rest})` : ""}`;
  });
  const stray = dump.slots.filter(
    ({ frontend, scope, slot }) => slot > 0 && !heads.some((one) => one.frontend === frontend && one.scope === scope),
  );
  return [
    ...lines,
    ...stray.map(({ frontend, slot }) => `STRAY ${frontend} slot ${slot}`),
    ...dump.backends.map(({ address, state }) => `backend ${address} ${state}`).sort(),
    ...dump.reverseNat.flatMap(({ id, address }) =>
      frontendOf.get(id)?.startsWith(`${address}/`) ? [] : [`WRONG reverse NAT ${address}`],
    ),
    ...dump.sourceRanges.map(({ id, prefix }) => `range ${frontendOf.get(id)} ${prefix}`).sort(),
    ...dump.affinity
      .map(({ id, backendId }) => `affinity ${frontendOf.get(id)} ${dump.backends.find((one) => one.id === backendId)?.address}`)
      .sort(),
    ...dump.maglev.map(({ id, size, places }) => `maglev ${frontendOf.get(id)} ${size} ${JSON.stringify(places)}`).sort(),
    "",
  ].join("\n");
}
