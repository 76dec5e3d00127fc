import { parsePrefix, prefixContains } from "#types/prefix.ts";
import { type Cause, cause } from "../errors.ts";
import { asArray, child, isObject, type JsonObject, type KubeObject } from "../object.ts";
import { fill, items } from "./fields.ts";
import { isPort } from "./podcheck.ts";
import type { Rules } from "./rules.ts";

const TYPES = ["Egress", "Ingress"];
const PROTOCOLS = ["SCTP", "TCP", "UDP"];
const specOf = (policy: KubeObject): JsonObject => child(policy as unknown as JsonObject, "spec");

/** NetworkPolicies as kube-apiserver takes them: its defaults, and what it refuses. */
export const networkPolicyRules: Rules = {
  defaults(policy) {
    const spec = specOf(policy);
    fill(spec, { podSelector: {}, policyTypes: spec.egress === undefined ? ["Ingress"] : ["Ingress", "Egress"] });
    for (const rule of [...items(spec, "ingress"), ...items(spec, "egress")]) {
      for (const port of items(rule, "ports")) fill(port, { protocol: "TCP" });
    }
  },
  validate(policy) {
    const spec = specOf(policy);
    return [...checkTypes(asArray(spec.policyTypes)), ...checkEntries(spec, "ingress", "from"), ...checkEntries(spec, "egress", "to")];
  },
};

function checkTypes(types: readonly unknown[]): Cause[] {
  const causes = types.flatMap((type, i) =>
    TYPES.includes(String(type)) ? [] : [cause.unsupported(`spec.policyTypes[${i}]`, type, TYPES)],
  );
  if (types.length > 2) causes.push(cause.invalid("spec.policyTypes", types, "may not specify more than two policyTypes"));
  return causes;
}

function checkEntries(spec: JsonObject, section: "ingress" | "egress", peers: "from" | "to"): Cause[] {
  return items(spec, section).flatMap((entry, i) => {
    const path = `spec.${section}[${i}]`;
    return [
      ...items(entry, "ports").flatMap((port, j) => checkPort(port, `${path}.ports[${j}]`)),
      ...items(entry, peers).flatMap((peer, j) => checkPeer(peer, `${path}.${peers}[${j}]`)),
    ];
  });
}

function checkPort({ port, endPort, protocol }: JsonObject, path: string): Cause[] {
  const causes: Cause[] = [];
  if (!PROTOCOLS.includes(String(protocol))) causes.push(cause.unsupported(`${path}.protocol`, protocol, PROTOCOLS));
  if (typeof port === "number" && !isPort(port)) causes.push(cause.invalid(`${path}.port`, port, "must be between 1 and 65535, inclusive"));
  if (typeof port === "string" && !(/^(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/.test(port) && port.length <= 15))
    causes.push(
      cause.invalid(`${path}.port`, port, "must be a port name: at most 15 lower case letters, digits and single '-', a letter among them"),
    );
  if (endPort === undefined) return causes;
  const wrong = (message: string) => causes.push(cause.invalid(`${path}.endPort`, endPort, message));
  if (port === undefined) wrong("may not be specified when `port` is not specified");
  else if (typeof port === "string") wrong("may not be specified when `port` is non-numeric");
  else if (Number(endPort) < Number(port)) wrong("must be greater than or equal to `port`");
  if (!isPort(endPort)) wrong("must be between 1 and 65535, inclusive");
  return causes;
}

function checkPeer(peer: JsonObject, path: string): Cause[] {
  const { ipBlock, podSelector, namespaceSelector } = peer;
  const selects = podSelector !== undefined || namespaceSelector !== undefined;
  if (!isObject(ipBlock)) return selects ? [] : [cause.required(path)];
  const both = selects ? [cause.forbidden(path, "may not specify both ipBlock and another peer")] : [];
  return [...both, ...checkBlock(ipBlock, `${path}.ipBlock`)];
}

function checkBlock({ cidr, except }: JsonObject, path: string): Cause[] {
  if (typeof cidr !== "string" || cidr === "") return [cause.required(`${path}.cidr`)];
  const block = parsePrefix(cidr);
  if (block === undefined) return [cause.invalid(`${path}.cidr`, cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")];
  return asArray(except).flatMap((text, i) => {
    const one = parsePrefix(String(text));
    if (one !== undefined && one !== block && prefixContains(block, one)) return [];
    return [cause.invalid(`${path}.except[${i}]`, text, "must be a strict subset of `cidr`")];
  });
}
