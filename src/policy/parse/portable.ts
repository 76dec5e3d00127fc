import { listOf, objectOf } from "./fields.ts";
import type { Fields } from "./reading.ts";

const dnsPeers = [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "kube-system", "k8s:k8s-app": "kube-dns" } }];
const dnsPorts = [
  {
    ports: [
      { port: "53", protocol: "UDP" },
      { port: "53", protocol: "TCP" },
    ],
  },
];
const dnsRules = { dns: [{ matchPattern: "*" }] };
const sections = ["ingress", "ingressDeny", "egress", "egressDeny"] as const;

/** Application rules need their protocol written out. */
function portablePorts(toPorts: readonly unknown[]): unknown[] {
  return toPorts.map((one) => {
    const fields = objectOf(one);
    const { http } = objectOf(fields.rules);
    if (listOf(http).length === 0) return one;
    return { ...fields, ports: listOf(fields.ports).map((port) => ({ protocol: "TCP", ...objectOf(port) })) };
  });
}

/** The entry without the `dns` entity, and one in its place that names the DNS pods. */
function withoutDnsEntity(entry: Fields, field: "fromEntities" | "toEntities", deny: boolean): Fields[] {
  const entities = listOf(entry[field]);
  if (!entities.includes("dns")) return [entry];
  const rest = entities.filter((one) => one !== "dns");
  const { [field]: _, ...others } = entry;
  const learns = field === "toEntities" && !deny;
  const toPorts = listOf(entry.toPorts).length > 0 ? entry.toPorts : dnsPorts.map((one) => (learns ? { ...one, rules: dnsRules } : one));
  const dns = { ...others, [field === "toEntities" ? "toEndpoints" : "fromEndpoints"]: dnsPeers, toPorts };
  return rest.length > 0 ? [{ ...entry, [field]: rest }, dns] : [dns];
}

/** The API server's own port beside the service's, as policy applies after translation. */
function withApiserverPort(entry: Fields, port: number): Fields {
  if (!listOf(entry.toEntities).includes("kube-apiserver")) return entry;
  const toPorts = listOf(entry.toPorts).map((one) => {
    const fields = objectOf(one);
    const ports = listOf(fields.ports).map(objectOf);
    const missing = ports.filter((each) => each.port === "443" && !ports.some((other) => other.port === String(port)));
    return { ...fields, ports: [...ports, ...missing.map((each) => ({ ...each, port: String(port) }))] };
  });
  return toPorts.length > 0 ? { ...entry, toPorts } : entry;
}

function portableSpec(spec: Fields, apiserverPort: number): Fields {
  const entries = sections.map((section): [string, unknown[]] => [
    section,
    listOf(spec[section])
      .map(objectOf)
      .flatMap((entry) => withoutDnsEntity(entry, section.startsWith("ingress") ? "fromEntities" : "toEntities", section.endsWith("Deny")))
      .map((entry) => (section === "egress" ? withApiserverPort(entry, apiserverPort) : entry))
      .map((entry) => (entry.toPorts === undefined ? entry : { ...entry, toPorts: portablePorts(listOf(entry.toPorts)) })),
  ]);
  const empty = entries.every(([, list]) => list.length === 0);
  const lists = entries
    .filter(([section]) => Array.isArray(spec[section]))
    .map(([section, list]): [string, unknown[]] => [section, empty ? [{}] : list]);
  return { ...spec, ...Object.fromEntries(lists) };
}

/**
 * The same policy without Cilia's own extensions, as Cilium accepts it: `- {}` for a default deny by empty list, the DNS pods for the entity `dns`,
 * TCP on ports with HTTP rules, the API server's own port beside 443. Other kinds of objects come back as they are.
 */
export function portablePolicy(object: unknown, apiserverPort = 6443): unknown {
  const fields = objectOf(object);
  if (fields.kind !== "CiliumNetworkPolicy" && fields.kind !== "CiliumClusterwideNetworkPolicy") return object;
  return {
    ...fields,
    ...(fields.spec === undefined ? {} : { spec: portableSpec(objectOf(fields.spec), apiserverPort) }),
    ...(fields.specs === undefined ? {} : { specs: listOf(fields.specs).map((one) => portableSpec(objectOf(one), apiserverPort)) }),
  };
}
