import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { Readable as ReadableStream } from "node:stream";
import { type ApiServer, startApiServer } from "#apiserver/apiserver.ts";
import { ApiError } from "#apiserver/errors.ts";
import type { ExitStatus, PodStreams, StreamSession } from "#apiserver/streams/pod-streams.ts";
import { silentLogger } from "#runtime/logger.ts";
import { type Outcome, root, run } from "./lab.ts";

/** An API server alone, with a fake kubelet whose "containers" are processes of this machine, and kubectl to drive it. */
export interface KubectlCluster extends AsyncDisposable {
  readonly api: ApiServer;
  /** A directory for manifests; also HOME of the commands. */
  readonly directory: string;
  readonly env: NodeJS.ProcessEnv;
  /** Runs kubectl; `input` becomes its standard input. */
  kubectl(args: readonly string[], input?: string): Promise<Outcome>;
  /** Starts kubectl and leaves it running. */
  start(args: readonly string[]): ChildProcess & { readonly stdout: Readable; readonly stderr: Readable };
  /** Writes a manifest and returns its path. */
  file(name: string, content: string | object): string;
}

/** The kubectls of this machine: the one on PATH and the one that set-up brings. Both must work. */
export const KUBECTLS: readonly string[] = [...onPath("kubectl"), ...[join(root, "build/bin/kubectl")].filter(existsSync)];

function onPath(name: string): string[] {
  const found = (process.env.PATH ?? "")
    .split(":")
    .map((directory) => join(directory, name))
    .find(existsSync);
  return found ? [found] : [];
}

export async function startKubectlCluster(kubectl: string): Promise<KubectlCluster> {
  const directory = mkdtempSync(join(tmpdir(), "cilia-kubectl-"));
  const deps = { log: silentLogger, streams: localProcesses };
  const api = await startApiServer(deps, { directory: join(directory, "state"), listeners: [{ host: "127.0.0.1", port: 0 }] });
  const kubeconfig = join(directory, "kubeconfig");
  writeFileSync(kubeconfig, api.kubeconfig());
  const env = { ...process.env, KUBECONFIG: kubeconfig, HOME: directory };
  const children = new Set<ChildProcess>();
  return {
    api,
    directory,
    env,
    kubectl: (args, input) => runWithInput(kubectl, args, env, input),
    start(args) {
      const child = spawn(kubectl, args, { env, stdio: ["ignore", "pipe", "pipe"] });
      children.add(child);
      return child;
    },
    file(name, content) {
      const path = join(directory, name);
      writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
      return path;
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) child.kill("SIGKILL");
      await api[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function runWithInput(command: string, args: readonly string[], env: NodeJS.ProcessEnv, input?: string): Promise<Outcome> {
  if (input === undefined) return run(command, args, { env });
  const child = spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => {
    output.stdout += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    output.stderr += chunk.toString();
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const code = await new Promise<number>((resolve) => {
    child.on("close", (status) => resolve(status ?? 137));
  });
  return { code, ...output };
}

/** Collects a stream until the text has what is wanted; fails with what there was instead. */
export async function untilText(stream: Readable, wanted: RegExp, timeoutMs = 30_000): Promise<string> {
  let text = "";
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const timer = setTimeout(() => reject(new Error(`${wanted} never came; there was: ${text}`)), timeoutMs);
  const take = (chunk: Buffer) => {
    text += chunk.toString();
    if (wanted.test(text)) resolve(text);
  };
  stream.on("data", take);
  stream.on("end", () => reject(new Error(`the stream ended without ${wanted}; there was: ${text}`)));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    stream.off("data", take);
  }
}

const localProcesses: PodStreams = {
  exec: async ({ command: [program = "true", ...args], tty }) => session(spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] }), tty),
  attach: async ({ tty }) => session(spawn("cat", { stdio: ["pipe", "pipe", "pipe"] }), tty),
  async logs({ container, tailLines, previous }) {
    if (previous) throw new ApiError(400, "BadRequest", `previous terminated container "${container}" not found`);
    const lines = ["one", "two", "three"].slice(tailLines === undefined ? 0 : -tailLines);
    return ReadableStream.from(lines.map((line) => `${line}\n`));
  },
  portForward: ({ port }) =>
    new Promise((resolve, reject) => {
      const socket = connect(port, "127.0.0.1", () => resolve(socket));
      socket.on("error", reject);
    }),
};

function session(child: ReturnType<typeof spawn>, tty: boolean): StreamSession {
  const exit = new Promise<ExitStatus>((resolve) => {
    child.on("error", ({ message }) => resolve({ code: 127, message }));
    child.on("close", (code) => resolve({ code: code ?? 137 }));
  });
  return {
    ...(child.stdin ? { stdin: child.stdin } : {}),
    ...(child.stdout ? { stdout: child.stdout } : {}),
    ...(child.stderr && !tty ? { stderr: child.stderr } : {}),
    exit,
    resize: () => undefined,
    close: () => child.kill("SIGKILL"),
  };
}
