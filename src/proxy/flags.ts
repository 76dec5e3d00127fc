import { defineFlags } from "#runtime/flags.ts";
import { DEFAULT_SOCKET_PATH, DEFAULT_STATE_PATH, PROXY_PORTS } from "./protocol.ts";

/** The settings of `cilium-proxy`. */
export const proxyFlags = defineFlags({
  "config-dir": { type: "string", default: "", help: "Directory of setting files, one a flag (a mounted ConfigMap)." },
  "proxy-socket-path": { type: "string", default: DEFAULT_SOCKET_PATH, help: "Unix socket for the agent." },
  "proxy-state-path": { type: "string", default: DEFAULT_STATE_PATH, help: "File that keeps the last policy over restarts." },
  "bpf-root": { type: "string", default: "/sys/fs/bpf", help: "BPF file system of this node." },
  "enable-ipv6": { type: "boolean", default: true, help: "Listen for IPv6 too." },
  "proxy-ingress-port": { type: "number", default: PROXY_PORTS.ingress, help: "Port of the listener for ingress policy." },
  "proxy-egress-port": { type: "number", default: PROXY_PORTS.egress, help: "Port of the listener for egress policy." },
  "proxy-connect-timeout": { type: "number", default: 2, help: "Seconds to wait for the server to accept a connection." },
  "http-request-timeout": { type: "number", default: 3600, help: "Seconds to wait for the server to begin a response." },
  "http-idle-timeout": { type: "number", default: 3600, help: "Seconds that a connection may be idle between requests." },
  "proxy-max-connections": { type: "number", default: 9000, help: "Client connections at one time; more are refused." },
  "proxy-max-connections-per-client": { type: "number", default: 4500, help: "Connections of one client address at one time." },
  "proxy-drain-timeout": { type: "duration", default: 8000, help: "At SIGTERM, how long requests may take to finish." },
  "proxy-access-buffer": { type: "number", default: 16_384, help: "Access records kept while no agent takes them." },
  "proxy-prometheus-port": { type: "number", default: 9964, help: "Port of /metrics; 0 is none." },
});
