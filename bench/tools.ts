import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";

/** Installs those of the Debian packages whose program is not there; gives the reason to skip when that cannot be. */
export function installTools(programs: Readonly<Record<string, string>>): string | undefined {
  const missing = Object.entries(programs).filter(([, path]) => !existsSync(path));
  if (missing.length === 0) return undefined;
  const names = missing.map(([name]) => name);
  try {
    execFileSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...names], { stdio: "ignore" });
    return undefined;
  } catch {
    return `${names.join(", ")} cannot be installed`;
  }
}
