import type { IpAddress } from "#types/addr.ts";

/** 0/8, 127/8, 169.254/16 and everything from 224.0.0.0 on: groups, then what is reserved. */
const NOWHERE_V4 = /^(0|127|169\.254|22[4-9]|2[345]\d)\./;
const NOWHERE_V6 = /^(::1?$|fe[89ab][0-9a-f]:|ff)/;
/** Where clouds keep their metadata beside the link: Alibaba, AWS and Google. */
const METADATA: ReadonlySet<string> = new Set(["100.100.100.200", "fd00:ec2::254", "fd20:ce::254"]);

/**
 * Whether a name may lead to the address: none leads to the node itself, to its link, to a cloud's metadata, or to groups. Addresses of pods and nodes are left to
 * the kernel, which knows them.
 */
export function isReachable(ip: IpAddress): boolean {
  return !(ip.includes(":") ? NOWHERE_V6 : NOWHERE_V4).test(ip) && !METADATA.has(ip);
}
