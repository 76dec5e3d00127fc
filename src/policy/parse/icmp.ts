import { protocolNumber } from "#types/proto.ts";
import type { PortSpec } from "../rule.ts";
import { didYouMean, type Fields, type Reading, readObjects, readString, refuse, warn, warnUnstorable } from "./reading.ts";

const v4Types: Readonly<Record<string, number>> = {
  EchoReply: 0,
  DestinationUnreachable: 3,
  Redirect: 5,
  Echo: 8,
  EchoRequest: 8,
  RouterAdvertisement: 9,
  RouterSelection: 10,
  TimeExceeded: 11,
  ParameterProblem: 12,
  Timestamp: 13,
  TimestampReply: 14,
  Photuris: 40,
  ExtendedEchoRequest: 42,
  ExtendedEchoReply: 43,
  "Extended EchoRequest": 42,
  "Extended EchoReply": 43,
};

const v6Types: Readonly<Record<string, number>> = {
  DestinationUnreachable: 1,
  PacketTooBig: 2,
  TimeExceeded: 3,
  ParameterProblem: 4,
  EchoRequest: 128,
  EchoReply: 129,
  MulticastListenerQuery: 130,
  MulticastListenerReport: 131,
  MulticastListenerDone: 132,
  RouterSolicitation: 133,
  RouterAdvertisement: 134,
  NeighborSolicitation: 135,
  NeighborAdvertisement: 136,
  RedirectMessage: 137,
  RouterRenumbering: 138,
  ICMPNodeInformationQuery: 139,
  ICMPNodeInformationResponse: 140,
  InverseNeighborDiscoverySolicitation: 141,
  InverseNeighborDiscoveryAdvertisement: 142,
  HomeAgentAddressDiscoveryRequest: 144,
  HomeAgentAddressDiscoveryReply: 145,
  MobilePrefixSolicitation: 146,
  MobilePrefixAdvertisement: 147,
  DuplicateAddressRequestCodeSuffix: 157,
  DuplicateAddressConfirmationCodeSuffix: 158,
  ExtendedEchoRequest: 160,
  ExtendedEchoReply: 161,
};

/** The number behind a type's name, or an issue that says what it could have been. */
function namedType(reading: Reading, name: string, family: string, path: string): number | undefined {
  const [types, others] = family === "IPv6" ? [v6Types, v4Types] : [v4Types, v6Types];
  if (Object.hasOwn(types, name)) return types[name];
  const hint = Object.hasOwn(others, name)
    ? `; it exists for ${family === "IPv6" ? "IPv4" : "IPv6"}`
    : didYouMean(name, Object.keys(types));
  reading.issues.push({ path, message: `"${name}" is not an ICMP type of ${family || "IPv4"}${hint}`, stage: "decode" });
  return undefined;
}

function readType(reading: Reading, value: unknown, family: string, path: string): number | undefined {
  if (value === undefined || value === null) {
    refuse(reading, path, "is missing; give the ICMP type as a number or name, such as 8 or EchoRequest");
    return undefined;
  }
  if (typeof value === "number" && Number.isInteger(value) && Math.abs(value) <= 0x7fffffff) return value;
  // As in Cilium: a text is a number when it reads as one other than zero, or is just "0".
  if (typeof value === "string") {
    const isNumber = value === "0" || (/^[-+]?[0-9]+$/.test(value) && Number(value) !== 0);
    return isNumber ? Number(value) : namedType(reading, value, family, path);
  }
  reading.issues.push({ path, message: `must be a number or a name, found ${JSON.stringify(value)}`, stage: "decode" });
  return undefined;
}

/** A cluster's schema looks at texts only, so that a number out of range is stored, as in Cilium. */
function checkType(reading: Reading, type: number, given: unknown, path: string): void {
  if (type >= 0 && type <= 255) return;
  const message = `${type} is not an ICMP type, which go from 0 to 255: it matches nothing`;
  if (typeof given === "string") warnUnstorable(reading, path, `${message}, and a cluster's schema refuses it`);
  else warn(reading, path, message);
}

function readField(reading: Reading, one: Fields, path: string): PortSpec[] {
  const family = readString(reading, one.family, `${path}.family`) ?? "";
  const type = readType(reading, one.type, family, `${path}.type`);
  if (!["", "IPv4", "IPv6"].includes(family))
    refuse(reading, `${path}.family`, `"${family}" is not IPv4 or IPv6${didYouMean(family, ["IPv4", "IPv6"])}`);
  if (type === undefined) return [];
  checkType(reading, type, one.type, `${path}.type`);
  const protocol = family === "IPv6" ? protocolNumber.ICMPv6 : protocolNumber.ICMP;
  return [{ protocol, name: "", port: type, endPort: 0 }];
}

/** Reads `icmps`: undefined when it is absent or empty; otherwise the ICMP types, which stand where ports do. */
export function readIcmps(reading: Reading, value: unknown, path: string): PortSpec[] | undefined {
  const list = readObjects(reading, value, path);
  if (list === undefined || list.length === 0) return undefined;
  const specs = list.flatMap((one, i) => {
    const fields = readObjects(reading, one.fields, `${path}[${i}].fields`) ?? [];
    if (fields.length > 40) refuse(reading, `${path}[${i}].fields`, `has ${fields.length} entries, at most 40 are allowed`);
    return fields.flatMap((field, j) => readField(reading, field, `${path}[${i}].fields[${j}]`));
  });
  if (!reading.settings.icmpRules) refuse(reading, path, 'needs the agent setting "enable-icmp-rules"');
  return specs;
}
