import { connect, createServer } from "node:net";
import { createConnections } from "#proxy/connections.ts";
import { createAccessStream } from "#proxy/control/access-stream.ts";
import { createCounters } from "#proxy/metrics.ts";
import { createPolicyTable } from "#proxy/policy/policy-table.ts";
import { DEFAULT_PROXY_CONFIG } from "#proxy/proxy.ts";
import { silentLogger } from "#runtime/logger.ts";

/** `node http-proxy.ts LISTEN SERVER`: the L7 proxy between two ports of loopback, without the kernel's part; records are made and thrown away. */
const [listenPort = 0, serverPort = 0] = process.argv.slice(2, 4).map(Number);
const server = { ip: "127.0.0.1", port: serverPort };
const policy = createPolicyTable();
const http = [
  { method: "POST", path: "/admin/[a-z]+" },
  { method: "GET", path: "/public/v[0-9]+/.*" },
];
const port = { port: serverPort, protocol: "TCP", rules: [{ identities: [1001], http, origins: [] }] } as const;
policy.replace({ type: "policy", revision: 1, endpoints: [{ id: 1, identity: 1002, ips: [server.ip], ingress: [port], egress: [] }] });

const records = createAccessStream(DEFAULT_PROXY_CONFIG.recordCapacity, (flush) => void setTimeout(flush, 5));
records.connect({ write: (lines) => lines.length > 0 });
const connections = createConnections(
  {
    ...{ log: silentLogger, policy, records, counters: createCounters() },
    identities: { identityOf: () => 1001, refresh: () => undefined },
    transport: { connect: () => connect({ host: server.ip, port: server.port, allowHalfOpen: true, noDelay: true }) },
  },
  DEFAULT_PROXY_CONFIG,
);
createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  connections.accept({ socket, direction: "ingress", client: { ip: "127.0.0.1", port: socket.remotePort ?? 0 }, server });
}).listen(listenPort, "127.0.0.1", () => process.stdout.write("ready\n"));
