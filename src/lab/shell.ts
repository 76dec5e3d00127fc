import { spawn } from "node:child_process";
import { join } from "node:path";
import { readReport } from "./client.ts";
import { LabConfigError } from "./errors.ts";
import { labCgroup } from "./leftovers.ts";
import { paths } from "./paths.ts";

/**
 * Runs a command on a node, with this terminal: in its namespaces and in its cgroup, for it is by cgroup that programs reach services where
 * they connect. Resolves with its exit code. Rejects with `LabConfigError` for a node that is not there, `LabError` without a lab.
 */
export async function runOnNode(name: string, command: readonly string[]): Promise<number> {
  const { nodes } = await readReport();
  const node = nodes.find((one) => one.name === name);
  if (!node) throw new LabConfigError(`there is no node "${name}"; there are ${nodes.map((one) => one.name).join(", ")}`);
  const place = ["--target", String(node.pid), "--net", "--uts", "--mount", "--cgroup", join(labCgroup(), name, "node")];
  process.on("SIGINT", () => undefined); // the terminal's interrupt is for what runs there
  const child = spawn(paths.sandbox, ["run", ...place, "--directory", "/", "--", ...command], { stdio: "inherit" });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}
