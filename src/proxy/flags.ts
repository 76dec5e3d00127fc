import { defineFlags, FlagError } from "#runtime/flags.ts";
import { RECORDED_HEADERS } from "./access-record.ts";
import { DEFAULT_DNS_CACHE_PATH, DEFAULT_DNS_STATE_PATH } from "./dns/protocol.ts";
import { isFieldValue, isToken } from "./http/header-fields.ts";
import { DENIED, type DeniedReply } from "./http/local-reply.ts";
import { DEFAULT_SOCKET_PATH, DEFAULT_STATE_PATH, PROXY_PORTS } from "./protocol.ts";

/** How denied requests are answered: by the proxy, and by the kernel where it decides. */
export const deniedFlags = defineFlags({
  "http-403-msg": { type: "string", default: "", help: 'Body of the answer to a denied request, instead of "Access denied".' },
  "http-403-headers": {
    ...{ type: "string", default: "" },
    help: 'More headers of that answer, separated by semicolons: "Name: value; Name: value".',
  },
});

/** The settings of `cilium-proxy`. */
export const proxyFlags = defineFlags({
  "config-dir": { type: "string", default: "", help: "Directory of setting files, one a flag (a mounted ConfigMap)." },
  "proxy-socket-path": { type: "string", default: DEFAULT_SOCKET_PATH, help: "Unix socket for the agent." },
  "proxy-state-path": { type: "string", default: DEFAULT_STATE_PATH, help: "File that keeps the last policy over restarts." },
  "dns-policy-path": { type: "string", default: DEFAULT_DNS_STATE_PATH, help: "File that keeps the last DNS policy over restarts." },
  "dns-cache-path": { type: "string", default: DEFAULT_DNS_CACHE_PATH, help: "File that keeps the names that pods have learned." },
  "bpf-root": { type: "string", default: "/sys/fs/bpf", help: "BPF file system of this node." },
  "enable-ipv6": { type: "boolean", default: true, help: "Listen for IPv6 too." },
  "proxy-ingress-port": { type: "number", default: PROXY_PORTS.ingress, help: "Port of the listener for ingress policy." },
  "proxy-egress-port": { type: "number", default: PROXY_PORTS.egress, help: "Port of the listener for egress policy." },
  "proxy-connect-timeout": { type: "number", default: 2, help: "Seconds to wait for the server to accept a connection." },
  "http-request-timeout": { type: "number", default: 3600, help: "Seconds to wait for the server to begin a response." },
  "http-idle-timeout": { type: "number", default: 3600, help: "Seconds that a connection may be idle between requests." },
  ...deniedFlags,
  "http-access-log-headers": {
    ...{ type: "list", default: RECORDED_HEADERS },
    help: "Headers that flows carry; * is all but those with credentials, which must be named.",
  },
  "proxy-max-connections": { type: "number", default: 9000, help: "Client connections at one time; more are refused." },
  "proxy-max-connections-per-client": { type: "number", default: 4500, help: "Connections of one client address at one time." },
  "proxy-handover-timeout": { type: "duration", default: 20_000, help: "At SIGTERM, how long another proxy is waited for that goes on." },
  "proxy-drain-timeout": { type: "duration", default: 8000, help: "Then, how long requests may take to finish." },
  "proxy-access-buffer": { type: "number", default: 16_384, help: "Access records kept while no agent takes them." },
  "proxy-prometheus-port": { type: "number", default: 9964, help: "Port of /metrics; 0 is none." },
});

/** Headers that the proxy itself sets, or that would change where the answer ends. */
const OWN_HEADERS = new Set(["content-length", "transfer-encoding", "connection", "upgrade", "trailer", "te", "keep-alive"]);

/** What the two flags make of a denial. Throws `FlagError` for what is no header, or none of theirs to set. */
export function readDeniedReply(message: string, headers: string): DeniedReply {
  const fields = headers.split(";").map((one) => one.trim());
  return {
    // As upstream, the body ends its line.
    body: message === "" ? DENIED.body : message.replace(/(?:\r\n)?$/, "\r\n"),
    headers: fields.filter((one) => one !== "").map(readHeader),
  };
}

function readHeader(text: string): readonly [string, string] {
  const colon = text.indexOf(":");
  const [name, value] = [text.slice(0, Math.max(colon, 0)).toLowerCase(), text.slice(colon + 1).trim()];
  if (!isToken(name) || !isFieldValue(value))
    throw new FlagError("bad-flag", `--http-403-headers: found "${text}", "Name: value" is needed`);
  if (OWN_HEADERS.has(name)) throw new FlagError("bad-flag", `--http-403-headers: ${name} is set by the proxy itself`);
  return [name, value];
}
