import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpAddress } from "#types/addr.ts";
import { buildPacket, macOf, type PacketSpec } from "./build.ts";
import { internetChecksum, transportChecksum } from "./checksum.ts";
import { formatTcpFlags, TcpFlag } from "./headers.ts";
import { parsePacket } from "./parse.ts";

const v4 = { source: IpAddress("10.244.1.5"), destination: IpAddress("10.244.2.7") };
const v6 = { source: IpAddress("fd00::5"), destination: IpAddress("fd00::7") };
const families = [v4, v6];

describe("parsePacket", () => {
  for (const ip of families) {
    it(`reads back what buildPacket wrote: TCP from ${ip.source}`, () => {
      const packet = parsePacket(
        buildPacket({
          ethernet: { source: macOf(1), destination: macOf(2) },
          ip: { ...ip, ttl: 61, tos: 4 },
          tcp: { sourcePort: 1234, destinationPort: 80, flags: TcpFlag.psh | TcpFlag.ack, sequence: 7, acknowledgement: 9 },
          payload: "GET /",
        }),
      );
      assert.equal(packet.problem, undefined);
      assert.equal(packet.ethernet?.source, macOf(1));
      assert.equal(packet.ip?.ttl, 61);
      assert.equal(packet.ip?.tos, 4);
      assert.equal(packet.ip?.source, ip.source);
      assert.equal(packet.ip?.destination, ip.destination);
      assert.deepEqual(packet.tcp, { sourcePort: 1234, destinationPort: 80, flags: 24, sequence: 7, acknowledgement: 9, window: 65535 });
      assert.equal(new TextDecoder().decode(packet.payload), "GET /");
    });

    it(`finds the ports inside an ICMP error from ${ip.source}`, () => {
      const original = buildPacket({
        ip: { source: ip.destination, destination: ip.source },
        udp: { sourcePort: 53, destinationPort: 4000 },
        payload: "x",
      });
      const error = parsePacket(buildPacket({ ip, icmp: { type: ip === v4 ? 3 : 1, code: 4 }, payload: original }), { link: "ip" });
      assert.equal(error.icmp?.code, 4);
      assert.equal(error.icmp?.original?.ip?.source, ip.destination);
      assert.equal(error.icmp?.original?.udp?.destinationPort, 4000);
    });

    it(`tells a later fragment of ${ip.source} from a whole packet`, () => {
      const spec: PacketSpec = { ip: { ...ip, protocol: 17, fragmentOffset: 1480, id: 77 }, payload: "rest" };
      const packet = parsePacket(buildPacket(spec), { link: "ip" });
      assert.equal(packet.ip?.fragmentOffset, 1480);
      assert.equal(packet.ip?.id, 77);
      assert.equal(packet.ip?.protocol, 17);
      assert.equal(packet.udp, undefined);
    });
  }

  it("skips IPv4 options and IPv6 extension headers", () => {
    const options = parsePacket(
      buildPacket({ ip: { ...v4, options: Uint8Array.of(1, 1, 1, 0) }, udp: { sourcePort: 1, destinationPort: 2 } }),
      { link: "ip" },
    );
    assert.equal(options.udp?.destinationPort, 2);
    const hopByHop = Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0);
    const extended = parsePacket(
      buildPacket({ ip: { ...v6, options: hopByHop, firstHeader: 0 }, udp: { sourcePort: 1, destinationPort: 2 } }),
      { link: "ip" },
    );
    assert.equal(extended.ip?.protocol, 17);
    assert.equal(extended.udp?.destinationPort, 2);
  });

  it("gives the whole headers of a capture that was cut short", () => {
    const whole = buildPacket({ ethernet: {}, ip: v4, tcp: { sourcePort: 1, destinationPort: 2 }, payload: "x".repeat(100) });
    const cut = parsePacket(whole.subarray(0, 40));
    assert.equal(cut.ip?.destination, v4.destination);
    assert.equal(cut.tcp, undefined);
    assert.equal(cut.problem, "transport: truncated");
  });
});

describe("checksums", () => {
  it("equal the example of RFC 1071", () => {
    assert.equal(internetChecksum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7)), ~0xddf2 & 0xffff);
  });

  it("sum to zero over a finished packet", () => {
    for (const ip of families) {
      const packet = buildPacket({ ip, udp: { sourcePort: 5, destinationPort: 6 }, payload: "odd" });
      const header = ip === v4 ? 20 : 40;
      assert.equal(transportChecksum({ family: ip === v4 ? 4 : 6, ...ip }, 17, packet.subarray(header)), 0);
      if (ip === v4) assert.equal(internetChecksum(packet.subarray(0, 20)), 0);
    }
  });
});

describe("formatTcpFlags", () => {
  it("names flags in the order of their bits", () => {
    assert.equal(formatTcpFlags(TcpFlag.ack | TcpFlag.syn), "SYN, ACK");
    assert.equal(formatTcpFlags(0), "");
  });
});
