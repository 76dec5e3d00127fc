import type { Schema } from "../schema/schema.ts";
import { conditions, list, record, selector, text, texts, usage, whole } from "./shapes.ts";

/** ClusterNetworkPolicy of the Network Policy API, `policy.networking.k8s.io/v1alpha2`: its experimental channel, whose fields Cilium reads all. */

const MOST = 25;
const one = { minProperties: 1, maxProperties: 1 };
const some = { minItems: 1, maxItems: MOST };
const must = (rule: string, message: string) => ({ "x-kubernetes-validations": [{ rule, message }] });

/** Here null is no selector. */
function labels(description: string): Schema {
  const { nullable: _, ...rest } = selector(description);
  return rest;
}

const namespaces = labels("The pods of namespaces with these labels; {} is every one.");
const pods = record(
  "Pods by their labels and those of their namespace.",
  {
    namespaceSelector: labels("The namespaces; {} is every one."),
    podSelector: labels("The pods; {} is every one."),
  },
  { required: ["podSelector"] },
);

const portNumber = (description: string) => whole(description, { format: "int32", minimum: 1, maximum: 65535 });
const destinationPort = record(
  "The port that the traffic is for: a number or a range.",
  {
    number: portNumber("One port."),
    range: record(
      "Ports from start to end, both included.",
      { start: portNumber("The first port."), end: portNumber("The last port, greater than the first.") },
      { required: ["start", "end"], ...must("self.start < self.end", "Start port must be less than End port") },
    ),
  },
  one,
);
const protocol = (name: string) => record(`${name} traffic.`, { destinationPort }, { minProperties: 1 });
const protocols = list(
  "The protocols and ports that the rule is about; all when left out.",
  record(
    "One protocol.",
    {
      tcp: protocol("TCP"),
      udp: protocol("UDP"),
      sctp: protocol("SCTP"),
      destinationNamedPort: text("The port that the destination's pod gives this name."),
    },
    one,
  ),
  some,
);

const networks = list(
  "Address ranges.",
  text("An address range.", { maxLength: 43, ...must("isCIDR(self)", "Invalid CIDR format provided") }),
  { ...some, "x-kubernetes-list-type": "set" },
);
const NAME_LABEL = "[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?";
const domainNames: Schema = {
  ...texts("DNS names; a leading * stands for one or more labels. For Accept only."),
  items: text("A name.", { pattern: `^(\\*\\.)?(${NAME_LABEL}\\.)+${NAME_LABEL}\\.?$` }),
  ...some,
  "x-kubernetes-list-type": "set",
};

function rules(field: "from" | "to", description: string): Schema {
  const peers = {
    namespaces,
    pods,
    ...(field === "to" ? { nodes: labels("Nodes with these labels; {} is every one."), networks, domainNames } : {}),
  };
  const namesOnly = must(
    "self.action == 'Accept' || !self.to.exists(peer, has(peer.domainNames))",
    "domainNames may only be used with action Accept",
  );
  const properties = {
    name: text("The rule's name, for people.", { maxLength: 100 }),
    action: text("Accept and Deny decide; Pass leaves the decision to the next tier.", { enum: ["Accept", "Deny", "Pass"] }),
    [field]: list("The other side of the traffic; any of them.", record("One kind of peer.", peers, one), some),
    protocols,
  };
  const rule = record("The first rule that fits decides.", properties, {
    required: ["action", field],
    ...(field === "to" ? namesOnly : {}),
  });
  return list(description, rule, { maxItems: MOST });
}

/** The schema of ClusterNetworkPolicy. */
export const clusterNetworkPolicySchema: Schema = record(
  "Ordered rules for pods of the whole cluster, decided about before (Admin) or after (Baseline) all other policies.",
  {
    spec: record(
      "The policy.",
      {
        tier: text("Admin comes before all other policies, Baseline after them.", { enum: ["Admin", "Baseline"] }),
        priority: whole("Within the tier; the lowest comes first.", { format: "int32", minimum: 0, maximum: 1000 }),
        subject: record("The pods that the policy is about.", { namespaces, pods }, one),
        ingress: rules("from", "What may and may not reach the pods."),
        egress: rules("to", "What the pods may and may not reach."),
      },
      { required: ["priority", "subject", "tier"] },
    ),
    status: record("What became of the policy.", { conditions, usage }, { required: ["conditions"] }),
  },
  { required: ["metadata", "spec"] },
);
