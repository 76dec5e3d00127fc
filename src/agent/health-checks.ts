import { createServer, type Server } from "node:http";
import type { ServiceRow } from "#loadbalancer/tables.ts";
import type { Target } from "#reconciler/reconciler.ts";

/** Answers on the health check node ports of services whose external traffic stays on the node. */
export type HealthChecks = Target<ServiceRow> & AsyncDisposable;

interface Check {
  readonly port: number;
  readonly server: Server;
  row: ServiceRow;
}

/** Load balancers ask each node whether it has ready backends: 200 when it has, 503 when not, in kube-proxy's words. */
export function createHealthChecks(): HealthChecks {
  const checks = new Map<string, Check>();
  const keyOf = ({ name }: ServiceRow) => `${name.namespace}/${name.name}`;
  const stop = async (key: string) => {
    const check = checks.get(key);
    checks.delete(key);
    if (check) await close(check.server);
  };
  return {
    async update(row) {
      const key = keyOf(row);
      const check = checks.get(key);
      const port = row.healthCheckNodePort;
      if (check && check.port === port) check.row = row;
      else {
        await stop(key);
        if (port !== undefined) checks.set(key, await start(port, row));
      }
    },
    remove: (row) => stop(keyOf(row)),
    async [Symbol.asyncDispose]() {
      await Promise.all([...checks.keys()].map(stop));
    },
  };
}

/** Rejects when the port is taken, with Node's error that names it. */
async function start(port: number, row: ServiceRow): Promise<Check> {
  const server = createServer((_, response) => {
    const { status, body } = healthAnswer(check.row);
    const headers = { "content-type": "application/json", "x-content-type-options": "nosniff" };
    response.writeHead(status, { ...headers, "x-load-balancing-endpoint-weight": String(check.row.localBackends) }).end(body);
  });
  const check: Check = { port, server, row };
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host: "::" }, resolve);
  }).catch((thrown: unknown) => {
    // A node without IPv6 has no "::".
    if ((thrown as NodeJS.ErrnoException).code !== "EAFNOSUPPORT") throw thrown;
    return new Promise<void>((resolve, reject) => server.once("error", reject).listen({ port, host: "0.0.0.0" }, resolve));
  });
  server.unref();
  return check;
}

/** What a load balancer is told of a service. */
export function healthAnswer({ name, localBackends }: ServiceRow): { readonly status: number; readonly body: string } {
  const { namespace } = name;
  const body = { service: { namespace, name: name.name }, localEndpoints: localBackends, serviceProxyHealthy: true };
  return { status: localBackends > 0 ? 200 : 503, body: `${JSON.stringify(body)}\n` };
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}
