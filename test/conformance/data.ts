import { readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { type PolicySettings, settingsWith } from "#policy/settings.ts";

/** Where the data lies unless CILIA_CONFORMANCE says otherwise: beside the checkout, as it is too large to be part of it. */
export const dataFolder = process.env.CILIA_CONFORMANCE ?? new URL("../../../shared/conformance/policy", import.meta.url).pathname;

/** One identity of a scenario. */
export type DataIdentity = {
  readonly id: number;
  readonly name: string;
  readonly labels: readonly string[];
  readonly endpoint: boolean;
  readonly namedPorts?: readonly { readonly name: string; readonly protocol: string; readonly port: number }[];
};

/** An answer that flows refer to. */
export type DataVerdict = {
  readonly verdict: "allowed" | "denied" | "error";
  readonly match: string;
  readonly policies?: readonly number[];
  readonly redirect?: { readonly parser: string; readonly listener?: string; readonly listenerPriority?: number };
  readonly l7?: readonly Record<string, unknown>[];
  readonly auth?: string;
  readonly authExplicit?: boolean;
  readonly log?: readonly string[];
  readonly error?: string;
};

/** A row of a policy map as the data has it. */
export type DataMapEntry = {
  readonly direction: string;
  readonly identity: number;
  readonly protocol: number;
  readonly port: number;
  readonly portPrefix: number;
  readonly precedence: number;
  readonly deny?: boolean;
  readonly proxy?: string;
};

/** A small cluster, its policies, and the answer for each flow. */
export type Scenario = {
  readonly id: string;
  readonly quirks?: readonly string[];
  readonly config: Readonly<Record<string, unknown>>;
  readonly identities: readonly DataIdentity[];
  readonly services?: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly selector?: Readonly<Record<string, string>>;
    readonly endpoints?: readonly string[];
  }[];
  readonly policies: readonly unknown[];
  readonly expected: {
    readonly policies: readonly { readonly accepted: boolean; readonly stage?: string; readonly error?: string }[];
    readonly enforcement: readonly {
      readonly id: number;
      readonly ingress: boolean;
      readonly egress: boolean;
      readonly ingressDefaultDeny: boolean;
      readonly egressDefaultDeny: boolean;
      readonly policies?: readonly number[];
      readonly error?: string;
    }[];
    readonly verdicts: readonly DataVerdict[];
    readonly flows: readonly (readonly [number, number, string, number, number | null, number | null])[];
    readonly policyMaps?: Readonly<Record<string, readonly DataMapEntry[] | null>>;
  };
};

/** One line of a file: where it stands, its text, and what it holds or why it can not be read. */
export type DataLine = { readonly number: number; readonly text: string; readonly value?: unknown; readonly problem?: string };

/** Where a file named on the command line lies: from the current directory (npm tells which it was), then in the shared data, where its ending may be left out. */
export function findFile(name: string): string | undefined {
  const here = [process.env.INIT_CWD ?? process.cwd(), process.cwd()].map((folder) => resolve(folder, name));
  const shared = name.includes("/") ? [] : [name, `${name}.jsonl`].map((one) => resolve(dataFolder, one));
  return [...here, ...shared].find(isFile);
}

/** Where a file of the shared data lies; undefined when it is not there. */
export function sharedFile(name: string): string | undefined {
  const path = join(dataFolder, name);
  return isFile(path) ? path : undefined;
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** Reads the lines of a file; empty ones are left out, those that are no JSON say so. */
export function readLines(path: string): DataLine[] {
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.flatMap((text, i) => (text.trim() === "" ? [] : [readLine(text, i + 1)]));
}

function readLine(text: string, number: number): DataLine {
  try {
    return { number, text, value: JSON.parse(text) as unknown };
  } catch (error) {
    return { number, text, problem: `is not JSON: ${messageOf(error)}` };
  }
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const settingNames: Readonly<Record<string, keyof PolicySettings>> = {
  ipv6: "ipv6",
  hostFirewall: "hostFirewall",
  nodeSelectorLabels: "nodeSelectorLabels",
  policyCIDRMatchMode: "policyCidrMatchMode",
  extendedIPProtocols: "extendedIpProtocols",
  policyEnforcement: "enforcement",
  allowLocalhost: "allowLocalhost",
  nonDefaultDenyPolicies: "nonDefaultDenyPolicies",
  l7Proxy: "l7Proxy",
  icmpRules: "icmpRules",
};

/** The settings of a case; the engine's extensions stay on, so that they show as deviations. */
export function settingsOf(config: Readonly<Record<string, unknown>>): PolicySettings {
  const changes: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(config)) {
    const own = settingNames[name];
    if (own === undefined) throw new Error(`the data has a setting that is not known here: ${name}`);
    changes[own] = value;
  }
  return settingsWith(changes as Partial<PolicySettings>);
}
