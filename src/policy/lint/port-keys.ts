import { portPrefixes } from "../resolve/port-range.ts";
import type { PortSpec } from "../rule.ts";

/** Where rules stand that name no port. */
export const everyPort = "*";
const allBits = Array.from({ length: 17 }, (_, bits) => bits);
const blockOfPorts = (protocol: number, port: number, bits: number) => `${protocol}/${(port >> (16 - bits)) << (16 - bits)}/${bits}`;

/** Where a rule stands for a port that it names: under each block of its range. */
export function keysOfPort({ protocol, name, port, endPort }: PortSpec): string[] {
  if (name !== "") return [`${protocol}/${name}`];
  return portPrefixes(port, endPort).map((one) => blockOfPorts(protocol, one.port, one.bits));
}

/** Where rules stand that may cover a port. */
export function keysAroundPort({ protocol, name, port }: PortSpec): string[] {
  if (name !== "") return [everyPort, `${protocol}/${name}`];
  return [everyPort, ...allBits.map((bits) => blockOfPorts(protocol, port, bits))];
}
