import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { paths, STATE_DIRECTORY } from "../paths.ts";
import { runIn, type Sandbox } from "../process/sandbox.ts";
import { OUTSIDE_NAMES } from "./addresses.ts";

const PROGRAM = fileURLToPath(new URL("world/main.ts", import.meta.url));

/** Starts the servers of the world in its namespace. They end with its cgroup. */
export function startWorld(world: Sandbox, cgroup: string, ipv6: boolean): void {
  const { certificate, key } = makeCertificate();
  const log = openSync(join(STATE_DIRECTORY, "world.log"), "w");
  const env = { PATH: process.env.PATH ?? "", NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? "" };
  const command = [paths.node, "--disable-warning=ExperimentalWarning", PROGRAM, certificate, key, ipv6 ? "dual" : "ipv4"];
  runIn({ sandbox: world, cgroup, env, stdio: ["ignore", log, log] }, command).unref();
}

// Signed by nobody: clients must not check it (curl -k). Made once a machine; without openssl there is no TLS outside.
function makeCertificate(): { certificate: string; key: string } {
  mkdirSync(STATE_DIRECTORY, { recursive: true });
  const [certificate, key] = [join(STATE_DIRECTORY, "world.crt"), join(STATE_DIRECTORY, "world.key")];
  if (!existsSync(certificate)) {
    const names = [...OUTSIDE_NAMES.keys()].map((name) => `DNS:${name}`).join(",");
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    spawnSync("openssl", [
      "req",
      "-x509",
      ...curve,
      "-days",
      "3650",
      "-subj",
      "/CN=world",
      "-addext",
      `subjectAltName=${names}`,
      "-keyout",
      key,
      "-out",
      certificate,
    ]);
  }
  return { certificate, key };
}
