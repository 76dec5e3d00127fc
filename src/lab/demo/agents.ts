import { request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { readReport } from "../client.ts";
import { LabError } from "../errors.ts";

// Not /var/run: that is a link, which would lead back to the machine's own /run.
const SOCKET = "run/cilium/cilium.sock";

interface AgentPolicy {
  readonly revision?: number;
  readonly "realized-revision"?: number;
}

interface AgentRule {
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly object?: { readonly metadata?: { readonly resourceVersion?: string; readonly generation?: number } };
}

/** A policy object as it must be in force. */
export interface WantedPolicy {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
}

/** The agents' own files and sockets, as seen from the machine: the lab's daemon knows their processes. */
export async function agentRoots(): Promise<string[]> {
  const { nodes } = await readReport();
  return nodes.flatMap(({ agent }) => (agent ? [`/proc/${agent.pid}/root`] : []));
}

async function ask<T>(root: string, path: string): Promise<T> {
  const text = await new Promise<string>((resolve, reject) => {
    const asked = request({ socketPath: `${root}/${SOCKET}`, path }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve(Buffer.concat(chunks).toString()));
    });
    asked.on("error", reject);
    asked.end();
  });
  return JSON.parse(text) as T;
}

const ENFORCED_MS = 15_000;

/** Waits until every agent has these policies, and no others of the kinds given by `gone`, in its kernel. Rejects with `LabError`. */
export async function waitEnforced(wanted: readonly WantedPolicy[], gone: readonly Omit<WantedPolicy, "generation">[] = []): Promise<void> {
  const roots = await agentRoots();
  const deadline = Date.now() + ENFORCED_MS;
  for (;;) {
    const answers = await Promise.all(roots.map((root) => isEnforced(root, wanted, gone).catch(() => false)));
    if (answers.every(Boolean)) return;
    if (Date.now() > deadline)
      throw new LabError("boot", `the agents did not enforce ${wanted.map(({ name }) => name).join(", ")} in ${ENFORCED_MS / 1000} s`);
    await delay(30);
  }
}

async function isEnforced(
  root: string,
  wanted: readonly WantedPolicy[],
  gone: readonly Omit<WantedPolicy, "generation">[],
): Promise<boolean> {
  const { rules } = await ask<{ readonly rules: readonly AgentRule[] }>(root, "/v1/policy/rules");
  const same = (rule: AgentRule, policy: Omit<WantedPolicy, "generation">) =>
    rule.kind === policy.kind && rule.name === policy.name && (rule.namespace ?? "") === policy.namespace;
  const known = wanted.every((policy) =>
    rules.some((rule) => same(rule, policy) && (rule.object?.metadata?.generation ?? 1) >= policy.generation),
  );
  if (!known || gone.some((policy) => rules.some((rule) => same(rule, policy)))) return false;
  const { policy } = await ask<{ readonly policy?: AgentPolicy }>(root, "/v1/healthz");
  return (policy?.["realized-revision"] ?? 0) >= (policy?.revision ?? 0);
}
