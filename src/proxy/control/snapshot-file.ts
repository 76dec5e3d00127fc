import { readFileSync } from "node:fs";
import { writeWhole } from "#runtime/whole-file.ts";
import { parsePolicyMessage } from "../policy/parse-policy.ts";
import type { PolicyMessage } from "../protocol.ts";

/** Saves the policy; nobody else may read it: header values in rules can be secret. Throws the file system's error. */
export function saveSnapshot(path: string, policy: PolicyMessage): void {
  writeWhole(path, JSON.stringify(policy));
}

/** The saved policy; undefined when there is none. A file that cannot be used is reported and treated as none: everything is denied then. */
export function loadSnapshot(path: string, report: (problem: string) => void): PolicyMessage | undefined {
  try {
    const parsed = parsePolicyMessage(JSON.parse(readFileSync(path, "utf8")));
    if ("policy" in parsed) return parsed.policy;
    report(`${parsed.issues[0]?.path}: ${parsed.issues[0]?.message}`);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") report((thrown as Error).message);
  }
  return undefined;
}
