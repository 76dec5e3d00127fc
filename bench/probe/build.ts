import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, statSync } from "node:fs";

/** Compiles `NAME.c` of this folder when the program is older than its source; returns the program's path. */
export function buildProbe(name: string): string {
  const source = new URL(`${name}.c`, import.meta.url).pathname;
  const binary = new URL(`../../build/bench/${name}`, import.meta.url).pathname;
  if (!existsSync(binary) || statSync(binary).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(new URL("../../build/bench/", import.meta.url), { recursive: true });
    execFileSync("cc", ["-O2", "-Wall", "-static", "-o", binary, source]);
  }
  return binary;
}
