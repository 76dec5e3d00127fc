import { openSync, writeSync } from "node:fs";
import { connect, createServer } from "node:net";
import { createConnections } from "#proxy/connections.ts";
import { createAccessStream } from "#proxy/control/access-stream.ts";
import { createCounters } from "#proxy/metrics.ts";
import { createPolicyTable } from "#proxy/policy/policy-table.ts";
import type { HttpRule } from "#proxy/protocol.ts";
import { DEFAULT_PROXY_CONFIG } from "#proxy/proxy.ts";
import { silentLogger } from "#runtime/logger.ts";

/**
 * `node http-proxy.ts LISTEN SERVER [SERVER-ADDRESS [RULES]]`: the L7 proxy between two ports, of loopback unless there is an address, without the
 * kernel's part; records are made and thrown away. RULES is a JSON list of HTTP rules.
 */
const [listenPort = 0, serverPort = 0] = process.argv.slice(2, 4).map(Number);
const [address, rules] = process.argv.slice(4);
const server = { ip: address ?? "127.0.0.1", port: serverPort };
const policy = createPolicyTable();
const http: readonly HttpRule[] = rules
  ? (JSON.parse(rules) as HttpRule[])
  : [
      { method: "POST", path: "/admin/[a-z]+" },
      { method: "GET", path: "/public/v[0-9]+/.*" },
    ];
const port = { port: serverPort, protocol: "TCP", rules: [{ identities: [1001], http, origins: [] }] } as const;
policy.replace({ type: "policy", revision: 1, endpoints: [{ id: 1, identity: 1002, ips: [server.ip], ingress: [port], egress: [] }] });

const records = createAccessStream(DEFAULT_PROXY_CONFIG.recordCapacity, (flush) => void setTimeout(flush, 5));
const nobody = openSync("/dev/null", "w");
records.connect({ write: (lines) => writeSync(nobody, lines) > 0 });
const connections = createConnections(
  {
    ...{ log: silentLogger, policy, records, counters: createCounters() },
    identities: { identityOf: () => 1001, refresh: () => undefined },
    transport: { connect: () => connect({ host: server.ip, port: server.port, allowHalfOpen: true, noDelay: true }) },
  },
  DEFAULT_PROXY_CONFIG,
);
createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  connections.accept({ socket, direction: "ingress", client: { ip: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 }, server });
}).listen(listenPort, address === undefined ? "127.0.0.1" : "0.0.0.0", () => process.stdout.write("ready\n"));
