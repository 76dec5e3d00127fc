import { KEYS } from "../aggregate/keys.ts";
import type { FlagSpec } from "./args.ts";

const bool = (name: string, help: string, more: Partial<FlagSpec> = {}): FlagSpec => ({ name, kind: "bool", help, ...more });
const text = (name: string, help: string, more: Partial<FlagSpec> = {}): FlagSpec => ({ name, kind: "string", help, ...more });
const list = (name: string, help: string, more: Partial<FlagSpec> = {}): FlagSpec => ({ name, kind: "list", help, ...more });

/** Flags of every command. */
export const GLOBAL_FLAGS: readonly FlagSpec[] = [
  text("config", "Optional config file"),
  bool("debug", "Enable debug messages", { short: "D" }),
  bool("help", "Help for this command", { short: "h" }),
];

/** Flags of every command that talks to a server. */
export const SERVER_FLAGS: readonly FlagSpec[] = [
  text("server", "Address of a Hubble server: host:port, unix:///path or tls://host:port. Ignored with --input-file", {
    default: "localhost:4245",
  }),
  { name: "timeout", kind: "duration", help: "Hubble server dialing timeout", default: "5s" },
  { name: "request-timeout", kind: "duration", help: "Unary request timeout. Only applies to non-streaming calls", default: "12s" },
  bool("tls", "Use TLS when talking to the server"),
  bool("tls-allow-insecure", "Accept any certificate of the server"),
  list("tls-ca-cert-files", "Files of the CAs that may have signed the server's certificate"),
  text("tls-client-cert-file", "File of the client's certificate"),
  text("tls-client-key-file", "File of the client's key"),
  text("tls-server-name", "Name to expect in the server's certificate"),
  text("basic-auth-username", "User name for HTTP basic authentication"),
  text("basic-auth-password", "Password for HTTP basic authentication"),
  bool("port-forward", "Forward a local port to the relay's pod and use that as the server", { short: "P" }),
  { name: "port-forward-port", kind: "number", help: "Local port to forward (any free one when not given)" },
  text("kubeconfig", "Path to the kubeconfig file"),
  text("kube-context", "Kubernetes configuration context"),
  text("kube-namespace", "Namespace of the relay", { default: "kube-system" }),
];

const VERDICTS = ["FORWARDED", "DROPPED", "AUDIT", "REDIRECTED", "ERROR", "TRACED", "TRANSLATED"] as const;
const PROTOCOLS = ["tcp", "udp", "icmp", "icmpv4", "icmpv6", "sctp", "vrrp", "igmp", "dns", "http", "kafka"] as const;

/** Which flows: how many and of what time. */
export const SELECTOR_FLAGS: readonly FlagSpec[] = [
  bool("all", "Get all flows stored in Hubble's buffer"),
  { name: "first", kind: "number", help: "Get first N flows stored in Hubble's buffer" },
  {
    name: "last",
    kind: "number",
    help: "Get last N flows stored in Hubble's buffer (20 when nothing else is asked for); per node through the relay",
  },
  bool("follow", "Follow flows output", { short: "f" }),
  text("since", "Filter flows since a date: 3s, 4m, 1h30m ago, or RFC3339"),
  text("until", "Filter flows until a date: 3s, 4m, 1h30m ago, or RFC3339"),
];

const TRIPLES: readonly (readonly [string, string, Partial<FlagSpec>])[] = [
  ["cluster", "cluster", {}],
  ["fqdn", "a fully qualified domain name, * as wildcard", {}],
  ["ip", "an IP address or CIDR", {}],
  ["pod", "a pod by prefix: [namespace/]name", {}],
  ["namespace", "a Kubernetes namespace", { short: "n" }],
  ["label", "a label selector, e.g. key1=value1,key2 in (a,b) or reserved:world", { short: "l" }],
  ["service", "a service by prefix: [namespace/]name", {}],
  ["port", "a port", {}],
  ["workload", "a workload: [kind/]name", {}],
  ["identity", "a security identity: a number or a reserved name", {}],
];

function triple([name, what, more]: (typeof TRIPLES)[number]): FlagSpec[] {
  return [
    list(`from-${name}`, `Show flows that come from ${what}`),
    list(name, `Show flows to or from ${what}`, more),
    list(`to-${name}`, `Show flows that go to ${what}`),
  ];
}

/** Which flows: what they must be like. */
export const FILTER_FLAGS: readonly FlagSpec[] = [
  ...TRIPLES.flatMap(triple),
  bool("all-namespaces", "Pods and services of all namespaces where a name has none", { short: "A" }),
  bool("from-all-namespaces", "As --all-namespaces for sources"),
  bool("to-all-namespaces", "As --all-namespaces for destinations"),
  list("uuid", "Show the flow with this UUID"),
  list("node-name", "Show flows of nodes with this name: [cluster/]name, * as wildcard"),
  list("node-label", "Show flows of nodes with these labels"),
  list("protocol", "Show only flows of this L4 or L7 protocol", { values: PROTOCOLS }),
  list("tcp-flags", "Show only flows with these TCP flags, e.g. SYN,ACK"),
  list("type", "Show only flows of this type: TYPE[:SUBTYPE], e.g. drop, trace:to-proxy, l3/l4, l7", {
    short: "t",
    values: ["capture", "drop", "l3/l4", "l7", "policy-verdict", "trace", "trace-sock"],
  }),
  list("verdict", "Show only flows with this verdict", { values: VERDICTS }),
  list("drop-reason-desc", "Show only flows dropped for this reason, e.g. POLICY_DENIED"),
  list("http-status", "Show only flows with this HTTP status: 404 or 5+"),
  list("http-method", "Show only flows with this HTTP method"),
  list("http-path", "Show only flows whose HTTP path matches this regular expression"),
  list("http-url", "Show only flows whose HTTP URL matches this regular expression"),
  list("http-header", "Show only flows with this HTTP header: name:value"),
  list("trace-id", "Show only flows with this trace id"),
  list("ip-trace-id", "Show only flows with this IP trace id"),
  list("snat-ip", "Show only flows SNATed to this address or CIDR"),
  bool("ipv4", "Show only IPv4 flows", { short: "4" }),
  bool("ipv6", "Show only IPv6 flows", { short: "6" }),
  list("ip-version", "Show only flows of this IP version: v4 or v6", { values: ["none", "v4", "v6"] }),
  list("traffic-direction", "Show only flows of this direction: ingress or egress", { values: ["ingress", "egress"] }),
  list("cel-expression", "Show only flows this CEL expression is true for"),
  list("interface", "Show only flows of this network interface"),
  bool("encrypted", "Show only encrypted flows"),
  bool("unencrypted", "Show only unencrypted flows"),
  bool("reply", "Show only replies"),
  bool("not-reply", "Show only what is known to be no reply"),
  bool("not", "Reverse the next filter to be blacklist i.e. --not --from-ip 2.2.2.2"),
];

const TIME_FORMATS = [
  "StampMilli",
  "YearMonthDay",
  "YearMonthDayHour",
  "YearMonthDayHourMinute",
  "RFC3339",
  "RFC3339Milli",
  "RFC3339Micro",
  "RFC3339Nano",
  "RFC1123Z",
] as const;

/** How flows are printed. */
export const FORMAT_FLAGS: readonly FlagSpec[] = [
  text("output", "Output format: compact, dict, json, jsonpb, table", {
    short: "o",
    default: "compact",
    values: ["compact", "dict", "json", "jsonpb", "table"],
  }),
  bool("print-node-name", "Print node name in output"),
  bool("print-policy-names", "Print names of policies in output"),
  bool("explain", "Print below a denied flow which rule decided, what came nearest and how to allow it (default on a terminal)"),
  list("aggregate-by", `Count flows instead of showing them, by ${Object.keys(KEYS).join(", ")}`, { values: Object.keys(KEYS) }),
  text("time-format", "Time format, not for json", { default: "StampMilli", values: TIME_FORMATS }),
  bool("numeric", "Display all information in numeric form"),
  bool("ip-translation", "Translate IP addresses to logical names such as pod name, FQDN, …", { default: "true" }),
  text("color", "Colorize the output: auto, always, never", { default: "auto", values: ["auto", "always", "never"] }),
];

/** The rest of `observe`. */
export const OTHER_FLAGS: readonly FlagSpec[] = [
  list("allowlist", "Raw filters that flows must match, as JSON of FlowFilter"),
  list("denylist", "Raw filters that flows must not match, as JSON of FlowFilter"),
  bool("print-raw-filters", "Print the filters and exit without querying the server"),
  text("input-file", "Query flows from this file of JSON lines instead of the server. Use '-' to read from stdin"),
  list("field-mask", "Fields of the flow to ask for, with -o json only"),
  bool("use-default-field-masks", "Ask only for the fields that are printed when the output is compact, dict or table", {
    default: "true",
  }),
  bool("silent-errors", "Silently ignores errors and warnings", { short: "s" }),
];

/** All flags of `hubble observe`. */
export const OBSERVE_FLAGS: readonly FlagSpec[] = [
  ...SELECTOR_FLAGS,
  ...FILTER_FLAGS,
  ...FORMAT_FLAGS,
  ...OTHER_FLAGS,
  ...SERVER_FLAGS,
  ...GLOBAL_FLAGS,
];

/** All flags of `hubble history`: a time is always asked for, since that is what reads the disk. */
export const HISTORY_FLAGS: readonly FlagSpec[] = OBSERVE_FLAGS.map((spec) => (spec.name === "since" ? { ...spec, default: "24h" } : spec));

/** All flags of `hubble observe agent-events` and `debug-events`. */
export const EVENTS_FLAGS: readonly FlagSpec[] = [
  ...SELECTOR_FLAGS,
  text("output", "Output format: compact, dict, json", { short: "o", default: "compact", values: ["compact", "dict", "json", "jsonpb"] }),
  bool("print-node-name", "Print node name in output"),
  text("time-format", "Time format, not for json", { default: "StampMilli", values: TIME_FORMATS }),
  bool("silent-errors", "Silently ignores errors and warnings", { short: "s" }),
  ...SERVER_FLAGS,
  ...GLOBAL_FLAGS,
];

const INPUT_FILE = text("input-file", "Read flows from this file of JSON lines instead of the server. Use '-' to read from stdin");

/** All flags of `hubble top`. */
export const TOP_FLAGS: readonly FlagSpec[] = [
  list("by", "What to count by", { values: Object.keys(KEYS), default: "source,destination,port,verdict" }),
  { name: "rows", kind: "number", help: "Rows to show", default: "20" },
  { name: "interval", kind: "duration", help: "Time between two drawings on a terminal", default: "1s" },
  { name: "duration", kind: "duration", help: "How long to watch; 0s: until interrupted", default: "0s" },
  ...FILTER_FLAGS,
  INPUT_FILE,
  ...SERVER_FLAGS,
  ...GLOBAL_FLAGS,
];

/** All flags of `hubble matrix`. */
export const MATRIX_FLAGS: readonly FlagSpec[] = [
  text("output", "Output format: table, json, csv", { short: "o", default: "table", values: ["csv", "json", "table"] }),
  ...SELECTOR_FLAGS.filter(({ name }) => name !== "follow"),
  ...FILTER_FLAGS,
  INPUT_FILE,
  ...SERVER_FLAGS,
  ...GLOBAL_FLAGS,
];
