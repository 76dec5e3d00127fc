import type { Schema } from "../schema/schema.ts";
import { conditions, flag, list, map, open, record, selector, text, texts, whole } from "./shapes.ts";

const identityList = list(
  "Peers.",
  record("One peer.", {
    identity: whole("Its identity."),
    "identity-labels": map("Its labels."),
    "dest-port": whole("The port."),
    protocol: whole("The protocol."),
  }),
);
const direction = record("One direction.", {
  enforcing: flag("Whether policy is enforced."),
  state: text("enforcing, non-enforcing or disabled."),
  allowed: identityList,
  denied: identityList,
  adding: identityList,
  removing: identityList,
});

export const endpointSchema: Schema = record("What the agent of a node says about one of its pods.", {
  status: record("The endpoint.", {
    id: whole("The number of the endpoint on its node."),
    "external-identifiers": open("Names of the same thing elsewhere: pod, container."),
    identity: record("Its security identity.", {
      id: whole("The number.", { format: "int64" }),
      labels: texts("The labels that it stands for."),
    }),
    networking: record("Its addresses.", {
      addressing: list("The addresses.", record("One of each family.", { ipv4: text("IPv4."), ipv6: text("IPv6.") })),
      node: text("The node's address."),
    }),
    encryption: record("Encryption.", { key: whole("The key's index; 0 for none.") }),
    policy: record("Policy as enforced.", { ingress: direction, egress: direction }),
    state: text("The endpoint's state.", {
      enum: [
        "creating",
        "waiting-for-identity",
        "not-ready",
        "waiting-to-regenerate",
        "regenerating",
        "restoring",
        "ready",
        "disconnecting",
        "disconnected",
        "invalid",
      ],
    }),
    "named-ports": list(
      "Ports with names.",
      record("One port.", { name: text("The name."), port: whole("The number."), protocol: text("The protocol.") }),
    ),
    "service-account": text("The pod's service account."),
    health: open("Health."),
    log: list("What happened last.", open("One happening.")),
    controllers: list("Background tasks.", open("One task.")),
    "visibility-policy-status": text("No longer used."),
  }),
});

export const identitySchema: Schema = record(
  "A security identity: a number that stands for a set of labels.",
  {
    "security-labels": map("The labels."),
    status: { type: "object", description: "No longer used.", "x-kubernetes-preserve-unknown-fields": true },
  },
  { required: ["security-labels"] },
);

export const nodeSchema: Schema = record("What a node's agent says about the node.", {
  spec: record("The node.", {
    addresses: list(
      "Its addresses.",
      record("One address.", { type: text("InternalIP, ExternalIP, CiliumInternalIP, …"), ip: text("The address.") }),
    ),
    bootid: text("Changes with every boot."),
    nodeidentity: whole("The node's identity."),
    "instance-id": text("The cloud provider's name of the machine."),
    health: record("Where its health endpoint answers.", { ipv4: text("IPv4."), ipv6: text("IPv6.") }),
    ingress: record("Addresses of its ingress.", { ipv4: text("IPv4."), ipv6: text("IPv6.") }),
    encryption: record("Encryption.", { key: whole("The key's index; 0 for none.") }),
    ipam: record("Addresses for its pods.", {
      podCIDRs: texts("The node's ranges."),
      pool: map("Single addresses.", open("One address.")),
      pools: record("Named pools.", {
        allocated: list("What the node has.", open("One pool.")),
        requested: list("What the node wants.", open("One pool.")),
      }),
      "pre-allocate": whole("Spare addresses."),
      "min-allocate": whole("The least number of addresses."),
      "max-allocate": whole("The greatest number of addresses."),
    }),
  }),
  status: open("What became of the node's wishes."),
});

export const cidrGroupSchema: Schema = record(
  "A named list of address ranges for policies.",
  {
    spec: record(
      "The list.",
      { externalCIDRs: list("The ranges.", text("An address range.", { format: "cidr" })) },
      { required: ["externalCIDRs"] },
    ),
  },
  { required: ["spec"] },
);

export const poolSchema: Schema = record("Addresses that services of type LoadBalancer get.", {
  spec: record("The pool.", {
    blocks: list(
      "The addresses.",
      record("A range, or a first and a last address.", {
        cidr: text("The range.", { format: "cidr" }),
        start: text("The first address."),
        stop: text("The last address."),
      }),
    ),
    serviceSelector: selector("Services that may use the pool; every one when left out."),
    disabled: { ...flag("Gives out no more addresses; those given stay."), default: false },
    allowFirstLastIPs: text("Whether the first and last address of a range are used.", { enum: ["Yes", "No"] }),
  }),
  status: record("The pool as it is.", { conditions }),
});

const redirectPorts = list(
  "Ports.",
  record(
    "One port.",
    {
      port: text("The number.", { pattern: "^([1-9]|[1-5]?[0-9]{2,4}|6[1-4][0-9]{3}|65[1-4][0-9]{2}|655[1-2][0-9]|6553[1-5])$" }),
      protocol: text("TCP or UDP.", { enum: ["TCP", "UDP"] }),
      name: text("A name, needed when there are several."),
    },
    { required: ["port", "protocol"] },
  ),
);

export const redirectSchema: Schema = record(
  "Sends traffic for an address or a service to pods of the same node.",
  {
    spec: record(
      "The redirection.",
      {
        redirectFrontend: record("Where the traffic is going.", {
          addressMatcher: record("To an address.", { ip: text("The address."), toPorts: redirectPorts }, { required: ["ip", "toPorts"] }),
          serviceMatcher: record(
            "To a service.",
            { serviceName: text("Its name."), namespace: text("Its namespace."), toPorts: redirectPorts },
            { required: ["serviceName", "namespace"] },
          ),
        }),
        redirectBackend: record(
          "Where it is sent.",
          { localEndpointSelector: selector("Pods of the same node."), toPorts: redirectPorts },
          { required: ["localEndpointSelector", "toPorts"] },
        ),
        skipRedirectFromBackend: { ...flag("Lets the backend itself reach the frontend."), default: false },
        description: text("For people."),
      },
      { required: ["redirectFrontend", "redirectBackend"] },
    ),
    status: open("What became of it."),
  },
  { required: ["spec"] },
);

export const usageSchema: Schema = record("What one node's policies have decided; its name is the node's.", {
  policies: map("By kind/namespace/name of the policy.", {
    type: "object",
    description: "endpoints, packets, audited, lastHit, and rules with the packets of each.",
    "x-kubernetes-preserve-unknown-fields": true,
  }),
});
