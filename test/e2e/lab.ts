import { type SpawnOptions, spawn } from "node:child_process";
import { existsSync } from "node:fs";

/** The checkout that the tests run in. */
export const root = new URL("../../", import.meta.url).pathname;

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, at the most `timeoutMs`. */
export function run(
  command: string,
  args: readonly string[],
  options: SpawnOptions & { readonly timeoutMs?: number } = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], ...options });
    const output = { stdout: "", stderr: "" };
    child.stdout?.on("data", (chunk: Buffer) => {
      output.stdout += chunk.toString("utf8");
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      output.stderr += chunk.toString("utf8");
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 120_000);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? 137, ...output });
    });
  });
}

export function cilium(...args: string[]): Promise<Outcome> {
  return run("bin/cilium", args, { timeoutMs: 180_000 });
}

export interface Lab extends AsyncDisposable {
  /** The environment that `cilium lab env` prints, over our own. */
  readonly env: NodeJS.ProcessEnv;
  kubectl(...args: string[]): Promise<Outcome>;
}

/** Boots a lab; disposing takes it down. Throws with the program's own words when it does not come up. */
export async function startLab(...args: string[]): Promise<Lab> {
  const up = await cilium("lab", "up", ...args);
  if (up.code !== 0) throw new Error(`cilium lab up: exit status ${up.code}\n${up.stdout}${up.stderr}`);
  const env = { ...process.env, ...(await labEnvironment()) };
  return {
    env,
    kubectl: (...words) => run("kubectl", words, { env, timeoutMs: 180_000 }),
    async [Symbol.asyncDispose]() {
      await cilium("lab", "down");
    },
  };
}

async function labEnvironment(): Promise<Record<string, string>> {
  const { stdout } = await run("bash", ["-c", 'eval "$(bin/cilium lab env)"; env -0']);
  const pairs = stdout.split("\0").map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)] as const);
  return Object.fromEntries(pairs.filter(([name]) => name !== ""));
}

/** The guides' walkthroughs lie beside the checkout; undefined, and a reason to skip, when they do not. */
export const walkthroughs: string | undefined = [`${root}../shared/walkthroughs`].find((path) => existsSync(path));
