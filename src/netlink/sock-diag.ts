import { ERRNO } from "#sys/errno.ts";
import { check } from "#sys/kernel-error.ts";
import type { Netns } from "#sys/netns.ts";
import { NetlinkSocket } from "#sys/rawsocket.ts";
import { addressFromBytes, addressToBytes, type IpAddress } from "#types/addr.ts";
import { MessageWriter, NLM, readAnswers } from "./message.ts";

/** A UDP socket that is connected to somewhere. */
export interface UdpSocket {
  readonly remote: IpAddress;
  readonly remotePort: number;
  /** What `bpf_get_socket_cookie` gives for it. */
  readonly cookie: bigint;
  /** The kernel's whole name of it. */
  readonly id: Buffer;
  readonly family: number;
}

/** The sockets of one network namespace (sock_diag(7)). Needs CAP_NET_ADMIN there to end one. */
export interface SocketDiag extends Disposable {
  connectedUdp(): UdpSocket[];
  /** Its owner gets ECONNABORTED at the next call. False when it had gone by itself. */
  destroy(socket: UdpSocket): boolean;
  /** Resets the TCP connection of that socket. False when it had gone by itself. */
  destroyTcp(socket: TcpSocket): boolean;
}

/** One end of a TCP connection. */
export interface TcpSocket {
  readonly local: IpAddress;
  readonly localPort: number;
  readonly remote: IpAddress;
  readonly remotePort: number;
  readonly cookie: bigint;
}

const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const [TCP, UDP] = [6, 17];
const FAMILIES = [2, 10];
/** A connected UDP socket is in the state TCP calls ESTABLISHED. */
const ESTABLISHED = 1 << 1;
/** Offset and size of `struct inet_diag_sockid` in requests (behind 8 bytes) and answers (behind 4). */
const ID_SIZE = 48;

export function openSocketDiag(netns?: Netns): SocketDiag {
  const socket = new NetlinkSocket(NETLINK_SOCK_DIAG, netns);
  let sequence = 1;
  const request = (type: number, flags: number, family: number, id: Uint8Array, protocol = UDP) => {
    const fixed = Buffer.alloc(8 + ID_SIZE);
    fixed.writeUInt8(family, 0);
    fixed.writeUInt8(protocol, 1);
    fixed.writeUInt32LE(ESTABLISHED, 4);
    fixed.set(id, 8);
    const writer = new MessageWriter(sequence++);
    writer.begin(type, flags, fixed);
    socket.send(writer.finish());
  };
  const dump = function* (family: number): Generator<UdpSocket> {
    request(SOCK_DIAG_BY_FAMILY, NLM.DUMP, family, Buffer.alloc(ID_SIZE));
    for (;;) {
      for (const answer of readAnswers(socket.receive())) {
        if (answer.kind === "done") return;
        if (answer.kind === "ack") {
          check("sock_diag", -answer.errno, answer.words);
          return;
        }
        yield decode(answer.body, family);
      }
    }
  };
  const destroy = (family: number, id: Uint8Array, protocol: number): boolean => {
    request(SOCK_DESTROY, NLM.ACK, family, id, protocol);
    const [answer] = readAnswers(socket.receive());
    const errno = answer?.kind === "ack" ? answer.errno : 0;
    if (errno === ERRNO.ENOENT) return false;
    if (errno !== 0) check("sock_diag SOCK_DESTROY", -errno);
    return true;
  };
  return {
    connectedUdp: () => FAMILIES.flatMap((family) => [...dump(family)]),
    destroy: ({ family, id }) => destroy(family, id, UDP),
    destroyTcp(one) {
      const id = encodeTcp(one);
      // An IPv6 socket that an IPv4 client called is found under its own family only.
      const families = one.local.includes(":") ? [10] : FAMILIES;
      return families.some((family) => destroy(family, family === 10 ? encodeTcp(one, true) : id, TCP));
    },
    [Symbol.dispose]: () => socket.close(),
  };
}

function encodeTcp({ local, localPort, remote, remotePort, cookie }: TcpSocket, ipv6 = false): Buffer {
  const id = Buffer.alloc(ID_SIZE);
  const bytes = (ip: IpAddress) => addressToBytes(ip).subarray(ipv6 || ip.includes(":") ? 0 : 12);
  id.writeUInt16BE(localPort, 0);
  id.writeUInt16BE(remotePort, 2);
  id.set(bytes(local), 4);
  id.set(bytes(remote), 20);
  id.writeBigUInt64LE(cookie, 40);
  return id;
}

/** `struct inet_diag_msg`: family, state, timer, retransmits, then the socket's id: ports, source, destination, interface, cookie. */
function decode(body: Buffer, family: number): UdpSocket {
  const id = Buffer.from(body.subarray(4, 4 + ID_SIZE));
  return {
    remotePort: id.readUInt16BE(2),
    remote: addressFromBytes(id.subarray(20, 20 + (family === 2 ? 4 : 16))),
    cookie: id.readBigUInt64LE(40),
    id,
    family,
  };
}
