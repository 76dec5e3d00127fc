import type { IpAddress } from "#types/addr.ts";

/**
 * Whether a name may lead to the address: none leads to the node itself, to its link (where clouds keep their metadata), or to groups. Addresses of pods and
 * nodes are left to the kernel, which knows them.
 */
export function isReachable(ip: IpAddress): boolean {
  if (!ip.includes(":")) return !/^(0|127|169\.254|2[2-5]\d)\./.test(ip);
  return !/^(::1?$|fe[89ab][0-9a-f]:|ff)/.test(ip);
}
