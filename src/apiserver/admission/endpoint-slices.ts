import { isIP } from "node:net";
import { type Cause, cause } from "../errors.ts";
import { asArray, type JsonObject, type KubeObject } from "../object.ts";
import { fill, items } from "./fields.ts";
import type { Rules } from "./rules.ts";

const TYPES = ["FQDN", "IPv4", "IPv6"];
const PROTOCOLS = ["SCTP", "TCP", "UDP"];
const [MOST_ENDPOINTS, MOST_ADDRESSES] = [1000, 100];
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const NAME = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+\.?$/;

/** As kube-apiserver: port numbers are nobody's business here, addresses that would lead into nodes are refused. */
export const endpointSliceRules: Rules = {
  defaults(slice) {
    for (const port of items(slice, "ports")) fill(port, { name: "", protocol: "TCP" });
  },
  validate(slice, before) {
    const type = String(slice.addressType ?? "");
    if (!TYPES.includes(type)) return [type === "" ? cause.required("addressType") : cause.unsupported("addressType", type, TYPES)];
    const endpoints = items(slice, "endpoints");
    return [
      ...(before !== undefined && before.addressType !== type ? [cause.invalid("addressType", type, "field is immutable")] : []),
      ...(endpoints.length > MOST_ENDPOINTS ? [tooMany("endpoints", endpoints.length, MOST_ENDPOINTS)] : []),
      ...endpoints.flatMap((endpoint, index) => checkAddresses(endpoint, type, `endpoints[${index}].addresses`)),
      ...checkPorts(slice),
    ];
  },
};

function tooMany(field: string, found: number, most: number): Cause {
  return { reason: "FieldValueTooMany", field, message: `Too many: ${found}: must have at most ${most} items` };
}

function checkAddresses(endpoint: JsonObject, type: string, path: string): Cause[] {
  const addresses = asArray(endpoint.addresses).map(String);
  if (addresses.length === 0) return [cause.required(path, "must contain at least 1 address")];
  if (addresses.length > MOST_ADDRESSES) return [tooMany(path, addresses.length, MOST_ADDRESSES)];
  return addresses.flatMap((address, index) => {
    const problem = type === "FQDN" ? nameProblem(address) : addressProblem(address, type);
    return problem === undefined ? [] : [cause.invalid(`${path}[${index}]`, address, problem)];
  });
}

function nameProblem(name: string): string | undefined {
  return NAME.test(name) ? undefined : "should be a domain with at least two segments separated by dots";
}

function addressProblem(address: string, type: string): string | undefined {
  return isIP(address) === (type === "IPv6" ? 6 : 4) ? specialProblem(address) : `must be a valid ${type} address`;
}

/** Why nobody may write this address into an object: they would reach what listens on nodes for themselves alone. */
export function specialProblem(address: string): string | undefined {
  const ip = address.toLowerCase().replace(/^::ffff:(?=\d+\.)/, "");
  if (/^(0\.0\.0\.0|::)$/.test(ip)) return `may not be unspecified (${address})`;
  if (/^127\.|^::1$/.test(ip)) return "may not be in the loopback range (127.0.0.0/8, ::1/128)";
  if (/^169\.254\.|^fe[89ab][0-9a-f]:/.test(ip)) return "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
  return /^224\.0\.0\.|^ff[0-9a-f]2:/.test(ip) ? "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)" : undefined;
}

function checkPorts(slice: KubeObject): Cause[] {
  const seen = new Set<string>();
  return items(slice, "ports").flatMap((port, index) => {
    const path = `ports[${index}]`;
    const name = String(port.name ?? "");
    const isDuplicate = seen.has(name);
    seen.add(name);
    return [
      ...(isDuplicate ? [cause.duplicate(`${path}.name`, name)] : []),
      ...(name === "" || LABEL.test(name) ? [] : [cause.invalid(`${path}.name`, name, "must be a lowercase RFC 1123 label")]),
      ...(PROTOCOLS.includes(String(port.protocol)) ? [] : [cause.unsupported(`${path}.protocol`, port.protocol, PROTOCOLS)]),
    ];
  });
}
