import { type Layer4, SCTPChunkType, type TCPFlags } from "#api/gen/flow/flow_pb.ts";
import { type Packet, TcpFlag } from "#packet/headers.ts";

/** The chunk types that Hubble has words for, by their numbers in the packet (RFC 9260). */
const SCTP_CHUNKS: Readonly<Record<number, SCTPChunkType>> = {
  1: SCTPChunkType.INIT,
  2: SCTPChunkType.INIT_ACK,
  6: SCTPChunkType.ABORT,
  7: SCTPChunkType.SHUTDOWN,
  8: SCTPChunkType.SHUTDOWN_ACK,
  14: SCTPChunkType.SHUTDOWN_COMPLETE,
};

/** The transport header of a packet; undefined when there is none or it could not be read. */
export function layer4Of(packet: Packet): Layer4 | undefined {
  const { tcp, udp, sctp, icmp, ip } = packet;
  if (tcp !== undefined) return tcpLayer(tcp.sourcePort, tcp.destinationPort, tcpFlags(tcp.flags));
  if (udp !== undefined) return udpLayer(udp.sourcePort, udp.destinationPort);
  if (sctp !== undefined) {
    const { sourcePort, destinationPort } = sctp;
    const chunkType = SCTP_CHUNKS[packet.payload[0] ?? 0] ?? SCTPChunkType.UNSUPPORTED;
    return layer({ case: "SCTP", value: { $typeName: "flow.SCTP", sourcePort, destinationPort, chunkType } });
  }
  if (icmp === undefined) return undefined;
  const { type, code } = icmp;
  return ip?.family === 6
    ? layer({ case: "ICMPv6", value: { $typeName: "flow.ICMPv6", type, code } })
    : layer({ case: "ICMPv4", value: { $typeName: "flow.ICMPv4", type, code } });
}

/** TCP with its flags; none for a flow that is not one packet. */
export function tcpLayer(sourcePort: number, destinationPort: number, flags?: TCPFlags): Layer4 {
  return layer({ case: "TCP", value: { $typeName: "flow.TCP", sourcePort, destinationPort, flags } });
}

/** UDP. */
export function udpLayer(sourcePort: number, destinationPort: number): Layer4 {
  return layer({ case: "UDP", value: { $typeName: "flow.UDP", sourcePort, destinationPort } });
}

function layer(protocol: Layer4["protocol"]): Layer4 {
  return { $typeName: "flow.Layer4", protocol };
}

function tcpFlags(bits: number): TCPFlags {
  return {
    $typeName: "flow.TCPFlags",
    FIN: (bits & TcpFlag.fin) !== 0,
    SYN: (bits & TcpFlag.syn) !== 0,
    RST: (bits & TcpFlag.rst) !== 0,
    PSH: (bits & TcpFlag.psh) !== 0,
    ACK: (bits & TcpFlag.ack) !== 0,
    URG: (bits & TcpFlag.urg) !== 0,
    ECE: (bits & TcpFlag.ece) !== 0,
    CWR: (bits & TcpFlag.cwr) !== 0,
    NS: false,
  };
}

/** Ports of a transport header; zeros for protocols without ports. */
export function portsOf(l4: Layer4 | undefined): { readonly source: number; readonly destination: number } {
  const protocol = l4?.protocol;
  if (protocol?.case === "TCP" || protocol?.case === "UDP" || protocol?.case === "SCTP") {
    return { source: protocol.value.sourcePort, destination: protocol.value.destinationPort };
  }
  return { source: 0, destination: 0 };
}
