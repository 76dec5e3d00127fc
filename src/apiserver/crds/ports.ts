import type { Schema } from "../schema/schema.ts";
import { flag, list, map, record, selector, text, texts, whole } from "./shapes.ts";

const PROTOCOLS = ["TCP", "UDP", "SCTP", "VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH", "ANY"];

/** 0 to 65535, or a name with a letter in it: what Cilium's own pattern means. */
const PORT_NUMBER = "0*(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4})";
const PORT_NAME = "([a-zA-Z0-9]-?)*[a-zA-Z](-?[a-zA-Z0-9])*";

const port = record("One port.", {
  port: text("A number from 0 to 65535, or the name of a container port.", { pattern: `^(${PORT_NUMBER}|${PORT_NAME})$` }),
  endPort: whole("The last port of a range that begins with port.", { format: "int32", minimum: 0, maximum: 65_535 }),
  protocol: text("The protocol; ANY when it is left out.", { enum: PROTOCOLS }),
});

const secret = record("A Kubernetes secret.", { namespace: text("Its namespace."), name: text("Its name.") }, { required: ["name"] });

const http = record("What an HTTP request must be like; all that is given must fit.", {
  path: text("Regular expression for the whole path."),
  method: text("Regular expression for the whole method."),
  host: text("Regular expression for the whole host."),
  headers: texts('Headers that must be there: "Name", or "Name: value".'),
  headerMatches: list(
    "Headers and what to do when they do not fit.",
    record(
      "One header.",
      {
        name: text("The header's name.", { minLength: 1 }),
        value: text("The value that it must have."),
        secret: { ...secret, description: "A secret that holds the value." },
        mismatch: text("What to do with a request whose header differs; it is refused when this is left out.", {
          enum: ["LOG", "ADD", "DELETE", "REPLACE"],
        }),
      },
      { required: ["name"] },
    ),
  ),
});

const kafka = record("Which Kafka requests are allowed.", {
  role: text("produce or consume: a set of API keys.", { enum: ["produce", "consume"] }),
  apiKey: text("A single API key, such as fetch."),
  apiVersion: text("The version of the API."),
  clientID: text("The client's own name."),
  topic: text("The topic.", { maxLength: 255 }),
});

const dnsPattern = { maxLength: 255, pattern: "^([-a-zA-Z0-9_*]+[.]?)+$" };

/** A name or a pattern, not both. */
const oneName = { oneOf: [{ required: ["matchName"] }, { required: ["matchPattern"] }] };

export const fqdn = record(
  "A DNS name.",
  {
    matchName: text("The exact name.", { maxLength: 255, pattern: "^([-a-zA-Z0-9_]+[.]?)+$" }),
    matchPattern: text("A pattern: * is any run of characters but dots, a leading **. any number of labels.", dnsPattern),
  },
  oneName,
);

const tls = record(
  "Ends or begins TLS at the proxy.",
  {
    secret,
    certificate: text("The file name of the certificate in the secret."),
    privateKey: text("The file name of the key in the secret."),
    trustedCA: text("The file name of the authorities in the secret."),
  },
  { required: ["secret"] },
);

const listener = record(
  "Must be left out: listeners of Envoy configurations are not served.",
  {
    name: text("The listener.", { minLength: 1 }),
    priority: whole("Lower wins.", { minimum: 1, maximum: 100 }),
    envoyConfig: record(
      "Where it is defined.",
      {
        kind: text("The kind of the configuration; that of the policy's scope when it is left out.", {
          enum: ["CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"],
        }),
        name: text("Its name.", { minLength: 1 }),
      },
      { required: ["name"] },
    ),
  },
  // The engine takes one, as Cilium's does, and would reset the connections: no Envoy runs here.
  { required: ["envoyConfig", "name"], maxProperties: 0 },
);

const rules = record(
  "What may be said; one of the protocols.",
  {
    http: list("HTTP requests that are allowed.", http),
    dns: list("DNS names that may be looked up.", fqdn),
    kafka: list("Kafka requests that are allowed.", kafka),
    l7proto: text("Another protocol's parser."),
    l7: list("Rules for that parser.", map("Keys and values.")),
  },
  { oneOf: ["http", "dns", "kafka", "l7proto"].map((name) => ({ required: [name] })) },
);

/** `toPorts`: which ports, and what is said over them. */
export const portRules = (layer7: boolean): Schema =>
  list(
    "Ports and what may be said over them.",
    record(
      "Ports with the same rules.",
      layer7
        ? {
            ports: list("The ports.", port, { maxItems: 40 }),
            rules,
            terminatingTLS: tls,
            originatingTLS: tls,
            serverNames: list("TLS server names (SNI) that are allowed; * as in matchPattern.", text("A name.", dnsPattern), {
              minItems: 1,
            }),
            listener,
          }
        : { ports: list("The ports.", port, { maxItems: 40 }) },
    ),
  );

const ICMP_NAMES = [
  "EchoReply",
  "DestinationUnreachable",
  "Redirect",
  "Echo",
  "EchoRequest",
  "RouterAdvertisement",
  "RouterSelection",
  "TimeExceeded",
  "ParameterProblem",
  "Timestamp",
  "TimestampReply",
  "Photuris",
  "ExtendedEchoRequest",
  "ExtendedEcho Reply",
  "ExtendedEchoReply",
  "PacketTooBig",
  "MulticastListenerQuery",
  "MulticastListenerReport",
  "MulticastListenerDone",
  "RouterSolicitation",
  "NeighborSolicitation",
  "NeighborAdvertisement",
  "RedirectMessage",
  "RouterRenumbering",
  "ICMPNodeInformationQuery",
  "ICMPNodeInformationResponse",
  "InverseNeighborDiscoverySolicitation",
  "InverseNeighborDiscoveryAdvertisement",
  "HomeAgentAddressDiscoveryRequest",
  "HomeAgentAddressDiscoveryReply",
  "MobilePrefixSolicitation",
  "MobilePrefixAdvertisement",
  "DuplicateAddressRequestCodeSuffix",
  "DuplicateAddressConfirmationCodeSuffix",
];

export const icmps = list(
  "ICMP types.",
  record("Types of one rule.", {
    fields: list(
      "The types.",
      record(
        "One type.",
        {
          family: text("IPv4 (the default) or IPv6.", { enum: ["IPv4", "IPv6"], default: "IPv4" }),
          type: {
            "x-kubernetes-int-or-string": true,
            anyOf: [{ type: "integer" }, { type: "string" }],
            pattern: `^(${["[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]", ...ICMP_NAMES].join("|")})$`,
            description: "Its number, up to 255, or its name.",
          },
        },
        { required: ["type"] },
      ),
      { maxItems: 40 },
    ),
  }),
);

const cidr = (description: string): Schema => text(description, { format: "cidr" });

export const cidrs = list("Address ranges.", cidr("An address range; a single address is one of /32 or /128."));

export const cidrSet = list(
  "Address ranges with exceptions.",
  record(
    "One range, a named group of ranges, or groups by label.",
    {
      cidr: cidr("The range."),
      cidrGroupRef: text("The name of a CiliumCIDRGroup.", {
        maxLength: 253,
        pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
      }),
      cidrGroupSelector: selector("CiliumCIDRGroups by label."),
      except: list("Ranges inside of it that are not meant.", cidr("One range.")),
    },
    { oneOf: ["cidr", "cidrGroupRef", "cidrGroupSelector"].map((name) => ({ required: [name] })) },
  ),
);

/** All that the engine knows: Cilium's engine knows those of one address family and of the mesh too, which its definition leaves out. */
const ENTITIES = [
  "all",
  "world",
  "world-ipv4",
  "world-ipv6",
  "cluster",
  "cluster-mesh",
  "host",
  "init",
  "ingress",
  "unmanaged",
  "remote-node",
  "health",
  "none",
  "kube-apiserver",
  "dns",
];

export const entities = list(
  "Peers by what they are.",
  text("Who: dns, the cluster's DNS service, is known to this implementation only.", { enum: ENTITIES }),
);

export const services = list(
  "Kubernetes services.",
  record("One service, or services by label.", {
    k8sService: record("A service by name.", { serviceName: text("Its name."), namespace: text("Its namespace.") }),
    k8sServiceSelector: record(
      "Services by label.",
      { selector: selector("Their labels."), namespace: text("Their namespace.") },
      { required: ["selector"] },
    ),
  }),
);

export const groups = list(
  "Must be empty: groups of cloud providers are not looked up. Name the addresses in a CiliumCIDRGroup.",
  record("One group.", {
    aws: record("AWS.", {
      labels: map("Tags."),
      region: text("The region."),
      securityGroupsIds: texts("Security groups."),
      securityGroupsNames: texts("Security groups by name."),
    }),
  }),
  { maxItems: 0 },
);

export const authentication = record(
  "How both sides must prove who they are.",
  { mode: text("The mode.", { enum: ["disabled", "required", "test-always-fail"] }) },
  { required: ["mode"] },
);

export const defaultDeny = record("Whether what is not allowed is denied; by default in each direction that has rules.", {
  ingress: flag("For traffic to the endpoints."),
  egress: flag("For traffic from the endpoints."),
});
