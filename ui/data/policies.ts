/** A policy of the cluster, as `/api/policies` tells. */
export interface PolicyRow {
  readonly key: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly issues: readonly string[];
  readonly audit: boolean;
  readonly selects: readonly string[];
  readonly packets: number;
  readonly audited: number;
  readonly lastHit: string;
  readonly rules: readonly { readonly rule: string; readonly hits: number }[];
}

export interface PolicyText {
  readonly yaml: string;
  /** By rule: `ingress[0]`. */
  readonly lines: Readonly<Record<string, number>>;
}

export interface Problem {
  readonly severity: "error" | "warning" | "info";
  readonly id: string;
  readonly line?: number;
  readonly message: string;
  readonly fix: string;
}

export interface Review {
  readonly problems: readonly Problem[];
  readonly policies: readonly { readonly key: string; readonly replaces: boolean; readonly selects: readonly string[] }[];
  readonly allows: readonly {
    readonly subject: string;
    readonly direction: "ingress" | "egress";
    readonly peers: readonly { readonly what: string; readonly who: readonly string[] }[];
  }[];
}

export interface Group {
  readonly from: string;
  readonly to: string;
  readonly port: string;
  readonly requests: readonly string[];
  readonly flows: number;
  readonly why: string;
}

export interface WhatIf {
  readonly denied: readonly Group[];
  readonly allowed: readonly Group[];
  readonly uncertain: readonly Group[];
  readonly unchanged: number;
  readonly contradictions: number;
  /** Flows that were replayed. */
  readonly flows: number;
}

/** A workload of the cluster, as `/api/workloads` tells. */
export interface Workload {
  readonly namespace: string;
  readonly name: string;
  readonly labels: readonly string[];
}

/** All workloads, those too that have not talked. Rejects with the server's own words. */
export async function fetchWorkloads(signal: AbortSignal): Promise<readonly Workload[]> {
  return (await ask<{ readonly workloads: readonly Workload[] }>("/api/workloads", { signal })).workloads;
}

/** All policies. Rejects with the server's own words. */
export async function fetchPolicies(signal: AbortSignal): Promise<readonly PolicyRow[]> {
  return (await ask<{ readonly policies: readonly PolicyRow[] }>("/api/policies", { signal })).policies;
}

export function fetchPolicy(key: string, signal: AbortSignal): Promise<PolicyText> {
  return ask(`/api/policy?${new URLSearchParams({ key })}`, { signal });
}

/** What is wrong with a text, and what it would do. Rejects with the server's own words. */
export function reviewPolicies(text: string, signal: AbortSignal): Promise<Review> {
  return ask("/api/lint", { signal, ...withBody(text) });
}

/** What a text would have done to the traffic since a time, milliseconds since 1970. Rejects with the server's own words. */
export function replayPolicies(text: string, since: number, signal: AbortSignal): Promise<WhatIf> {
  return ask(`/api/what-if?since=${since}`, { signal, ...withBody(text) });
}

function withBody(text: string): RequestInit {
  return { method: "POST", headers: { "content-type": "application/yaml" }, body: text };
}

async function ask<T>(path: string, init: RequestInit): Promise<T> {
  const answer = await fetch(path, init);
  if (!answer.ok) throw new Error((await answer.text()).trim() || `the server says ${answer.status}`);
  return (await answer.json()) as T;
}
