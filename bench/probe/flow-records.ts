import { event as eventCodec } from "#datapath/gen/structs.ts";
import { DEATHSTAR, TIEFIGHTER, tcpPacket } from "#hubble/fixtures.ts";
import type { Observer } from "#hubble/observer/observer.ts";
import { decodeRecord } from "#monitor/decode.ts";

const BOOT_NS = 1_781_443_542_102_000_000n;

const CONNECTIONS = 512;

/** Records of a connection as the datapath writes them: two traces, an allowed and a denied verdict. */
function records(port: number): Uint8Array[] {
  const packet = tcpPacket({ port });
  const make = (type: number, verdict: number) => {
    const record = Buffer.alloc(eventCodec.size);
    const data = new Uint8Array(128);
    data.set(packet);
    const ends = { lxcId: DEATHSTAR.id, dstLxcId: DEATHSTAR.id, srcId: TIEFIGHTER.identity, dstId: DEATHSTAR.identity };
    const where = { direction: 1, ifindex: 12, hash: 1, line: 0, file: 0, extError: 0, ctReason: 0, flags: 1, subtype: 0, matchType: 2 };
    eventCodec.encode({ type, verdict, cookie: 7, lenOrig: 74, capLen: packet.length, ktime: 1n, data, ...ends, ...where }, record, 0);
    return record;
  };
  return [make(4, 0), make(5, 0), make(4, 0), make(5, -133)];
}

const inputs = Array.from({ length: CONNECTIONS }, (_, index) => records(20_000 + index)).flat();

/** Gives an observer that many of the kernel's records. */
export function pushRecords(observer: Observer, count: number): void {
  for (let i = 0; i < count; i++) {
    const event = decodeRecord(inputs[i % inputs.length] ?? new Uint8Array(), (ktime) => ktime + BOOT_NS);
    if (event !== undefined) observer.push(event);
  }
}

/** Processor time of this process, microseconds: repeats better than wall time on a shared machine. */
export function cpuMicroseconds(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
