import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { parsePolicyMessage } from "../policy/parse-policy.ts";
import type { PolicyMessage } from "../protocol.ts";

/**
 * Writes a file so that a reader finds the old one or the new one, never half of one, even after a crash. Mode 0600: header values in
 * rules can be secret. Throws the file system's error.
 */
export function writeWhole(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.new`;
  const fd = openSync(temporary, "w", 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
}

/** Saves the policy. Throws the file system's error. */
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
