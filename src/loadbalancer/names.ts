import { type Frontend, formatL4Address, type L4Address, type ServiceName } from "./types.ts";

/** Which service an address belongs to. */
export interface ServiceIndex {
  byAddress(address: L4Address): ServiceName | undefined;
}

export function serviceIndex(frontends: Iterable<Frontend>): ServiceIndex {
  const names = new Map<string, ServiceName>();
  for (const { address, service } of frontends) names.set(formatL4Address(address), service);
  return { byAddress: (address) => names.get(formatL4Address(address)) };
}
