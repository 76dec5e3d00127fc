import { CNI_ERROR, CniError } from "./request.ts";

export const SUPPORTED_VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

/** What a pod got, whatever the version of the answer. */
export interface Attachment {
  readonly hostInterface: string;
  readonly hostMac: string;
  readonly ifname: string;
  readonly mac: string;
  readonly netns: string;
  readonly mtu: number;
  readonly addresses: readonly { readonly address: string; readonly gateway: string }[];
}

/** The answer the plugin binary prints and its exit code. */
export interface CniAnswer {
  readonly exitCode: number;
  readonly stdout?: unknown;
}

/** Throws `CniError` 1 that lists what we speak. */
export function checkVersion(version: string): void {
  if ((SUPPORTED_VERSIONS as readonly string[]).includes(version)) return;
  throw new CniError(CNI_ERROR.incompatibleVersion, `cniVersion: found "${version}", supported are ${SUPPORTED_VERSIONS.join(", ")}`);
}

/** The result of ADD in the version the runtime asked for. Interface 0 is on the host, 1 in the pod. */
export function formatResult(version: string, { hostInterface, hostMac, ifname, mac, netns, mtu, addresses }: Attachment): unknown {
  const old = version.startsWith("0.3") || version.startsWith("0.4");
  const withMtu = version === "1.1.0" ? { mtu } : {};
  const isIpv6 = (address: string) => address.includes(":");
  return {
    cniVersion: version,
    interfaces: [
      { name: hostInterface, mac: hostMac, ...withMtu },
      { name: ifname, mac, ...withMtu, sandbox: netns },
    ],
    ips: addresses.map(({ address, gateway }) => ({
      ...(old ? { version: isIpv6(address) ? "6" : "4" } : {}),
      address: `${address}/${isIpv6(address) ? 128 : 32}`,
      gateway,
      interface: 1,
    })),
    routes: addresses.map(({ address, gateway }) => ({ dst: isIpv6(address) ? "::/0" : "0.0.0.0/0", gw: gateway })),
    dns: {},
  };
}

/** Any failure as the runtime wants it. What is no `CniError` may be tried again. */
export function formatError(version: string, thrown: Error): CniAnswer {
  const code = thrown instanceof CniError ? thrown.number : CNI_ERROR.tryAgain;
  const details = thrown.cause instanceof Error ? thrown.cause.message : "";
  return { exitCode: 1, stdout: { cniVersion: version, code, msg: thrown.message, details } };
}
