import { execFile } from "node:child_process";
import { existsSync, globSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { errorMessage } from "#runtime/errors.ts";
import { LabError } from "../errors.ts";
import { paths, STATE_DIRECTORY } from "../paths.ts";
import type { ImageKind } from "./images.ts";

const run = promisify(execFile);

const PACKAGES = ["nginx", "postgresql"] as const;
/** Where the packages are unpacked: a file system that lies over the machine's own, below those of nodes and pods. The machine itself gets none of it. */
const LAYER = join(STATE_DIRECTORY, "images/debian");
const FETCH_MS = 300_000;

/** Directories that are links in Debian's root; what packages have there belongs behind the link. */
const MERGED = ["bin", "sbin", "lib", "lib64"] as const;

/**
 * The file systems to lay over the machine's for images of this kind, the topmost first. Copies them to the memory of the lab: overlays refuse a
 * layer that lies inside another, and what is on the machine's disk lies inside its root. Throws when they have not been prepared.
 */
export async function layersOf(kind: ImageKind): Promise<readonly string[]> {
  if (kind === "emulated") return [];
  if (!hasPrograms(LAYER)) throw new LabError("images", `nginx and PostgreSQL are not in ${LAYER}`);
  await run("cp", ["-a", LAYER, paths.images]);
  return [paths.images];
}

/**
 * Debian's own nginx and PostgreSQL for `--images real`: fetched with apt the first time, and unpacked beside the lab's state. Rejects with a
 * `LabError` that shows apt's words.
 */
export async function prepareDebianImages(report: (step: string) => void): Promise<void> {
  if (hasPrograms(LAYER)) return;
  report("nginx and PostgreSQL from Debian");
  if (!existsSync("/usr/bin/apt-get"))
    throw new LabError("images", "--images real takes nginx and PostgreSQL from Debian: there is no apt-get here");
  const [fresh, archives] = [`${LAYER}.new`, `${LAYER}.archives`];
  for (const directory of [fresh, archives]) rmSync(directory, { recursive: true, force: true });
  mkdirSync(join(archives, "partial"), { recursive: true });
  await download(archives);
  await unpack(globSync(join(archives, "*.deb")), fresh);
  rmSync(LAYER, { recursive: true, force: true });
  renameSync(fresh, LAYER);
  rmSync(archives, { recursive: true });
  if (!hasPrograms(LAYER)) throw new LabError("images", `--images real: no nginx and PostgreSQL in the packages ${PACKAGES.join(", ")}`);
}

/** Whether the layer over the machine's root has both servers. */
function hasPrograms(layer: string): boolean {
  const has = (pattern: string) => globSync([join(layer, pattern), join("/", pattern)]).length > 0;
  return existsSync(layer) && has("usr/sbin/nginx") && has("usr/lib/postgresql/*/bin/initdb");
}

// What the machine has already is not fetched again: its own files show through.
async function download(archives: string): Promise<void> {
  const fetch = () => apt(["install", "--download-only", "--no-install-recommends", "-o", `Dir::Cache::archives=${archives}`, ...PACKAGES]);
  try {
    await fetch().catch(() => apt(["update"]).then(fetch));
  } catch (thrown) {
    const { stderr = "" } = thrown as { stderr?: string };
    const words = stderr.trim().split("\n").slice(-3).join("\n") || errorMessage(thrown);
    throw new LabError(
      "images",
      `--images real: apt-get could not fetch ${PACKAGES.join(" and ")}; without it the lab has emulated ones\n${words}`,
    );
  }
}

function apt(args: readonly string[]): Promise<unknown> {
  return run("apt-get", ["-qq", "-y", "-o", "Acquire::Retries=1", ...args], {
    timeout: FETCH_MS,
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
}

async function unpack(archives: readonly string[], directory: string): Promise<void> {
  mkdirSync(join(directory, "usr"), { recursive: true });
  for (const name of MERGED) {
    mkdirSync(join(directory, "usr", name));
    symlinkSync(`usr/${name}`, join(directory, name));
  }
  const extract = 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"';
  for (const archive of archives) await run("bash", ["-o", "pipefail", "-c", extract, "bash", archive, directory]);
}
