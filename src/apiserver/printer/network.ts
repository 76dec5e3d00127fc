import { asArray, asObject, at, type KubeObject } from "../object.ts";
import { ageColumn, type Column, column, nameColumn, wide } from "./columns.ts";
import { selectorText } from "./selector.ts";

function externalIp(service: KubeObject): string {
  const { type, externalIPs, externalName } = asObject(service.spec);
  const given = asArray(externalIPs).map(String);
  if (type === "ExternalName") return String(externalName ?? "<none>");
  if (type !== "LoadBalancer") return given.join(",") || "<none>";
  const ingress = asArray(at(service, "status", "loadBalancer", "ingress")).map((each) => String(at(each, "ip") ?? at(each, "hostname")));
  return [...ingress, ...given].join(",") || "<pending>";
}

function servicePorts(service: KubeObject): string {
  const ports = asArray(at(service, "spec", "ports")).map(asObject);
  const text = ports.map(({ port, nodePort, protocol }) => `${String(port)}${nodePort ? `:${String(nodePort)}` : ""}/${String(protocol)}`);
  return text.join(",") || "<none>";
}

/** At most three, and how many more there are. */
function firstThree(values: readonly string[], none: string): string {
  if (values.length === 0) return none;
  return values.length > 3 ? `${values.slice(0, 3).join(",")} + ${values.length - 3} more...` : values.join(",");
}

function endpointAddresses(endpoints: KubeObject): string {
  const all = asArray(endpoints.subsets).flatMap((subset) => {
    const ips = asArray(at(subset, "addresses")).map((each) => String(at(each, "ip")));
    const ports = asArray(at(subset, "ports")).map((each) => Number(at(each, "port")));
    return ports.length === 0 ? ips : ports.flatMap((port) => ips.map((ip) => (ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`)));
  });
  return firstThree(all, "<none>");
}

const rules = (ingress: KubeObject) => asArray(at(ingress, "spec", "rules")).map(asObject);

function ingressAddress(ingress: KubeObject): string {
  return asArray(at(ingress, "status", "loadBalancer", "ingress"))
    .map((each) => String(at(each, "ip") ?? at(each, "hostname")))
    .join(",");
}

export const NETWORK_COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  "/Service": [
    nameColumn,
    column("Type", (service) => String(at(service, "spec", "type") ?? "")),
    column("Cluster-IP", (service) => String(at(service, "spec", "clusterIP") ?? "<none>")),
    column("External-IP", externalIp),
    column("Port(s)", servicePorts),
    ageColumn,
    wide("Selector", (service) => selectorText(at(service, "spec", "selector"))),
  ],
  "/Endpoints": [nameColumn, column("Endpoints", endpointAddresses), ageColumn],
  "discovery.k8s.io/EndpointSlice": [
    nameColumn,
    column("AddressType", (slice) => String(slice.addressType ?? "")),
    column("Ports", (slice) =>
      firstThree(
        asArray(slice.ports).map((each) => String(at(each, "port") ?? "*")),
        "<unset>",
      ),
    ),
    column("Endpoints", (slice) =>
      firstThree(
        asArray(slice.endpoints).flatMap((each) => asArray(at(each, "addresses")).map(String)),
        "<unset>",
      ),
    ),
    ageColumn,
  ],
  "networking.k8s.io/NetworkPolicy": [
    nameColumn,
    column("Pod-Selector", (policy) => selectorText(at(policy, "spec", "podSelector"))),
    ageColumn,
  ],
  "networking.k8s.io/Ingress": [
    nameColumn,
    column("Class", (ingress) => String(at(ingress, "spec", "ingressClassName") ?? "<none>")),
    column("Hosts", (ingress) =>
      firstThree(
        rules(ingress).map(({ host }) => String(host ?? "*")),
        "*",
      ),
    ),
    column("Address", ingressAddress),
    column("Ports", (ingress) => (asArray(at(ingress, "spec", "tls")).length > 0 ? "80, 443" : "80")),
    ageColumn,
  ],
  "networking.k8s.io/IngressClass": [
    nameColumn,
    column("Controller", (one) => String(at(one, "spec", "controller") ?? "")),
    column("Parameters", (one) => {
      const parameters = asObject(at(one, "spec", "parameters"));
      const group = parameters.apiGroup ? `.${String(parameters.apiGroup)}` : "";
      return parameters.kind ? `${String(parameters.kind)}${group}/${String(parameters.name)}` : "<none>";
    }),
    ageColumn,
  ],
};
