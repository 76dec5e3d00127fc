/** IP protocol numbers by the names that policies, flows and commands use. 0 stands for any protocol. */
export const protocolNumber = {
  ANY: 0,
  ICMP: 1,
  IGMP: 2,
  IPIP: 4,
  TCP: 6,
  UDP: 17,
  IPV6: 41,
  GRE: 47,
  ESP: 50,
  AH: 51,
  ICMPv6: 58,
  VRRP: 112,
  SCTP: 132,
} as const;

/** The name of an IP protocol that Cilium knows. */
export type ProtocolName = keyof typeof protocolNumber;

const names = new Map<number, ProtocolName>(Object.entries(protocolNumber).map(([name, number]) => [number, name as ProtocolName]));

/** The name of a protocol number, or `proto-N` for one without a name. */
export function formatProtocol(number: number): string {
  return names.get(number) ?? `proto-${number}`;
}

/** The number of a protocol name in any case; undefined when it has none. */
export function parseProtocol(name: string): number | undefined {
  const upper = name.toUpperCase();
  if (upper === "ICMPV6") return protocolNumber.ICMPv6;
  return Object.hasOwn(protocolNumber, upper) ? protocolNumber[upper as ProtocolName] : undefined;
}

/** Whether packets of the protocol carry ports. */
export function hasPorts(number: number): boolean {
  return number === protocolNumber.TCP || number === protocolNumber.UDP || number === protocolNumber.SCTP;
}
