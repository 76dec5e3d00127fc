import { setTimeout as sleep } from "node:timers/promises";
import type { Container } from "kubernetes-types/core/v1.js";
import { captureIn, type Sandbox } from "../process/sandbox.ts";
import { containerCgroup } from "./container.ts";
import type { Command } from "./environment.ts";

type PreStop = NonNullable<NonNullable<Container["lifecycle"]>["preStop"]> & { readonly sleep?: { readonly seconds: number } };

/**
 * What a container wants done before it is told to end: `lifecycle.preStop` with `exec` or `sleep`, within the grace period. Rejects
 * with what the command said when it fails.
 */
export async function runPreStop(
  { container, command, sandbox, podCgroup }: { container: Container; command: Command; sandbox: Sandbox; podCgroup: string },
  graceSeconds: number,
): Promise<void> {
  const hook = container.lifecycle?.preStop as PreStop | undefined;
  if (hook?.sleep) await sleep(Math.min(hook.sleep.seconds, graceSeconds) * 1000);
  if (!hook?.exec?.command) return;
  const cgroup = containerCgroup(podCgroup, container.name);
  const words = ["timeout", "-s", "KILL", String(graceSeconds), ...hook.exec.command];
  const { code, stdout, stderr } = await captureIn({ sandbox, cgroup, env: command.env, directory: command.directory }, words);
  if (code !== 0) throw new Error(`exit status ${code}: ${(stdout + stderr).trim().slice(0, 200)}`);
}

/** Whether the container has something to be done before it ends. */
export function hasPreStop({ lifecycle }: Container): boolean {
  return lifecycle?.preStop !== undefined;
}
