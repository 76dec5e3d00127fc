import type { EndpointPolicy, PolicyMapEntry } from "#policy/resolve/resolve.ts";
import { decideAmong } from "#policy/resolve/verdict.ts";
import { NumericIdentity } from "#types/identity.ts";
import { protocolNumber } from "#types/proto.ts";
import type { DataMapEntry } from "./data.ts";

/** What the lookup of a map needs of its rows. */
type Row = Pick<PolicyMapEntry, "direction" | "identity" | "protocol" | "port" | "portPrefix" | "precedence"> & { readonly to: string };

/** What two maps say of one peer in one direction, where they differ: `protocol/port answer`. Both lists are empty when they say the same. */
type MapComparison = { readonly where: string; readonly expected: readonly string[]; readonly actual: readonly string[] };

function recordedRow(one: DataMapEntry): Row {
  const { direction, deny = false, proxy } = one;
  if (direction !== "ingress" && direction !== "egress") throw new Error(`a policy map has the direction "${direction}"`);
  return { ...one, direction, identity: NumericIdentity(one.identity), to: deny ? "deny" : (proxy ?? "allow") };
}

function ownRow(one: PolicyMapEntry): Row {
  return { ...one, to: one.deny ? "deny" : (one.proxy?.key ?? "allow") };
}

/** The first and last port of a row, and their neighbours outside; of ICMP the types that there are. */
function portsOf({ protocol, port, portPrefix }: Row): number[] {
  const top = protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6 ? 255 : 0xffff;
  const last = port + (1 << (16 - portPrefix)) - 1;
  return [port - 1, port, Math.min(last, top), last + 1].filter((one) => one >= 0 && one <= top);
}

/** What a map says of a peer: by the two lookups of the datapath. */
type Lookup = (peer: readonly Row[], protocol: number, port: number) => string;

function lookupIn(anyPeer: readonly Row[], direction: Row["direction"]): Lookup {
  return (peer, protocol, port) => {
    const flow = { direction, identity: NumericIdentity(0), protocol, port };
    return decideAmong(peer, anyPeer, flow)?.to ?? "deny";
  };
}

function byIdentity(rows: readonly Row[], direction: Row["direction"]): Map<number, Row[]> {
  return Map.groupBy(
    rows.filter((one) => one.direction === direction),
    ({ identity }) => identity as number,
  );
}

/** The questions that tell two maps apart: every protocol with the edges of its ports in either map; 0 is a protocol that no row names. */
function questionsOf(rows: readonly Row[]): [number, number][] {
  const ports = Map.groupBy(rows, ({ protocol }) => protocol);
  const each = [...ports].flatMap(([protocol, ofIt]) =>
    [...new Set(ofIt.flatMap(portsOf))].map((port): [number, number] => [protocol, port]),
  );
  return [[0, 0], ...each.filter(([protocol]) => protocol !== 0)];
}

/**
 * Compares a recorded policy map with ours by what they answer, for every peer, direction, protocol and port that either names: one difference for
 * each peer and direction. How they are filled means nothing (README of the data): rows that a wider one covers may be there or not, and the
 * numbers of the precedence are free.
 */
export function* compareMaps(recorded: readonly DataMapEntry[], policy: EndpointPolicy): Generator<MapComparison> {
  const [theirs, ours] = [recorded.map(recordedRow), policy.entries().map(ownRow)];
  for (const direction of ["ingress", "egress"] as const) {
    const [their, own] = [byIdentity(theirs, direction), byIdentity(ours, direction)];
    const [theySay, weSay] = [lookupIn(their.get(0) ?? [], direction), lookupIn(own.get(0) ?? [], direction)];
    const questions = questionsOf([...their.values(), ...own.values()].flat());
    for (const peer of new Set([0, ...their.keys(), ...own.keys()])) {
      // Rows for any peer are asked alone under 0: so is a peer that neither map names.
      const [theirRows, ownRows] = peer === 0 ? [[], []] : [their.get(peer) ?? [], own.get(peer) ?? []];
      const answers = questions.map(([protocol, port]) => ({
        at: `${protocol}/${port}`,
        expected: theySay(theirRows, protocol, port),
        actual: weSay(ownRows, protocol, port),
      }));
      const differing = answers.filter(({ expected, actual }) => expected !== actual);
      const expected = differing.map((one) => `${one.at} ${one.expected}`);
      const actual = differing.map((one) => `${one.at} ${one.actual}`);
      yield { where: `${direction} peer ${peer}`, expected, actual };
    }
  }
}
