import type { Schema } from "../schema/schema.ts";
import { authentication, cidrSet, cidrs, defaultDeny, entities, fqdn, groups, icmps, portRules, services } from "./ports.ts";
import { conditions, list, record, selector, text, usage, whole } from "./shapes.ts";

/** The peers of one entry: at most one kind of them, which the policy engine checks, as it can say more about it. */
function peers(direction: "from" | "to", deny: boolean): Record<string, Schema> {
  const where = direction === "from" ? "Traffic from" : "Traffic to";
  return {
    [`${direction}Endpoints`]: list(`${where} endpoints with these labels; {} is every endpoint.`, selector("Endpoints by label.")),
    [`${direction}Requires`]: list("Must be empty; kept for old manifests.", { type: "string" }, { maxItems: 0 }),
    [`${direction}CIDR`]: { ...cidrs, description: `${where} these address ranges.` },
    [`${direction}CIDRSet`]: { ...cidrSet, description: `${where} these address ranges.` },
    [`${direction}Entities`]: { ...entities, description: `${where} these.` },
    [`${direction}Groups`]: groups,
    [`${direction}Nodes`]: list(`${where} nodes with these labels.`, selector("Nodes by label.")),
    ...(direction === "to" ? { toServices: services } : {}),
    ...(direction === "to" && !deny ? { toFQDNs: list("Traffic to the addresses of these DNS names.", fqdn) } : {}),
    toPorts: portRules(!deny),
    icmps,
    ...(deny ? {} : { authentication }),
  };
}

const entries = (direction: "from" | "to", deny: boolean, what: string): Schema =>
  list(what, record("Peers and ports, all of which must fit.", peers(direction, deny)));

/** One rule: whom it is about, and what they may and may not do. An empty list denies by default and allows nothing. */
function rule(clusterwide: boolean): Schema {
  const properties: Record<string, Schema> = {
    description: text("For people."),
    endpointSelector: selector("The endpoints that the rule is about; {} is every one."),
    ...(clusterwide ? { nodeSelector: selector("The nodes that the rule is about.") } : {}),
    ingress: entries("from", false, "What may reach the endpoints."),
    ingressDeny: entries("from", true, "What may not reach the endpoints, whatever else allows it."),
    egress: entries("to", false, "What the endpoints may reach."),
    egressDeny: entries("to", true, "What the endpoints may not reach, whatever else allows it."),
    enableDefaultDeny: defaultDeny,
    labels: list(
      "Names of the rule, in logs and flows.",
      record(
        "One label.",
        { key: text("The key."), value: text("The value."), source: text("Where it comes from.") },
        { required: ["key"] },
      ),
    ),
    log: record("What logs say of the rule.", {
      value: text("Shown with every flow that it decides; no control characters.", { maxLength: 32, pattern: "^\\P{C}*$" }),
    }),
  };
  const directions = ["ingress", "ingressDeny", "egress", "egressDeny"].map((name) => ({ required: [name] }));
  const subject = clusterwide
    ? { oneOf: [{ required: ["endpointSelector"] }, { required: ["nodeSelector"] }] }
    : { required: ["endpointSelector"] };
  return record("A rule.", properties, { anyOf: directions, ...subject });
}

/** The schema of CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy. */
export function policySchema(clusterwide: boolean): Schema {
  const one = rule(clusterwide);
  const properties: Record<string, Schema> = {
    spec: one,
    specs: list("Several rules under one name.", one),
    status: record("What became of the policy.", {
      conditions,
      derivativePolicies: { type: "object", description: "Policies made from this one.", "x-kubernetes-preserve-unknown-fields": true },
      observedGeneration: whole("The generation that the status is about."),
      usage,
      nodes: { type: "object", description: "By node; no longer written.", "x-kubernetes-preserve-unknown-fields": true },
    }),
  };
  const about = clusterwide
    ? "Rules for the traffic of endpoints and nodes of the whole cluster."
    : "Rules for the traffic of endpoints of one namespace.";
  return record(about, properties, { anyOf: [{ required: ["spec"] }, { required: ["specs"] }] });
}
