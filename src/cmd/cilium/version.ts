import { VERSION } from "#runtime/version.ts";
import { askLocalAgent, isLocal } from "./agents.ts";
import { formatOutput } from "./output.ts";

const ARCH = `${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`;

/** This program's version; in an agent's pod upstream's `Client` and `Daemon`. */
export async function versionText(options: { readonly output?: string }): Promise<string> {
  const daemon = isLocal() ? await daemonVersion() : undefined;
  if (options.output) {
    const fields = (version: string | undefined) => (version === undefined ? {} : { Version: version, Arch: ARCH });
    return formatOutput(options.output, { Client: fields(VERSION), Daemon: fields(daemon) });
  }
  if (!isLocal()) return `cilium v${VERSION}\n`;
  return `Client: ${VERSION} ${ARCH}\nDaemon: ${daemon === undefined ? "Not responding" : `${daemon} ${ARCH}`}\n`;
}

async function daemonVersion(): Promise<string | undefined> {
  try {
    return ((await askLocalAgent("GET", "/v1/healthz")) as { readonly version?: string }).version;
  } catch {
    // That the agent does not answer is what the command tells.
    return undefined;
  }
}
