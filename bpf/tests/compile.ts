import { spawnSync } from "node:child_process";

/** Compiles `fixtures/<source>` to the object `to`, with the flags of bpf/Makefile. Throws with clang's words. */
export function compile(source: string, to: string): void {
  const path = new URL(`./fixtures/${source}`, import.meta.url).pathname;
  const include = `/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const flags = ["-g", "-O2", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3", "-isystem", include];
  const made = spawnSync("clang", [...flags, "-c", path, "-o", to], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(`clang ${source}: ${made.stderr || made.error}`);
}
