import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "#runtime/logger.ts";
import { type ApiServer, type ApiServerConfig, type ApiServerDeps, startApiServer } from "./apiserver.ts";

/** An API server of a test, with a directory of its own that goes with it. */
export interface TestServer extends AsyncDisposable {
  readonly api: ApiServer;
  readonly directory: string;
}

/** Starts a server for one test; without listeners unless they are given. */
export async function startTestServer(config: Partial<ApiServerConfig> = {}, deps: Partial<ApiServerDeps> = {}): Promise<TestServer> {
  const directory = mkdtempSync(join(tmpdir(), "cilia-apiserver-"));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  const api = await startApiServer({ log: silentLogger, ...deps }, { directory, listeners: [], ...config }).catch((thrown: unknown) => {
    remove();
    throw thrown;
  });
  return {
    api,
    directory,
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]();
      remove();
    },
  };
}

/** A small pod, as a user writes it. */
export const podNamed = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "default", labels },
  spec: { containers: [{ name: "main", image: "nginx:1.27" }] },
});

/** A small deployment, as a user writes it. */
export const deploymentNamed = (name: string, container: object = {}) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name, namespace: "default" },
  spec: {
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "main", image: "nginx:1.27", ...container }] } },
  },
});
