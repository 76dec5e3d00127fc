import { isIPv6 } from "node:net";
import { check } from "./kernel-error.ts";
import { kernel } from "./native.ts";
import type { Netns } from "./netns.ts";
import { encodeSockaddr } from "./sockaddr.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;

const SOL_IP = 0;
const SOL_SOCKET = 1;
const SOL_IPV6 = 41;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const SO_RCVBUFFORCE = 33;
const SO_MARK = 36;
const SO_MEMINFO = 55;
const SO_COOKIE = 57;
const IP_TRANSPARENT = 19;
const IP_RECVORIGDSTADDR = 20;
const IP_BIND_ADDRESS_NO_PORT = 24;
const IP_LOCAL_PORT_RANGE = 51;
const IPV6_V6ONLY = 26;
const IPV6_RECVORIGDSTADDR = 74;
const IPV6_TRANSPARENT = 75;
const IPPROTO_UDP = 17;

/** Where a socket is made and what it is bound to. */
export interface SocketPlace {
  /** Address of the family the socket is to have; `::` takes IPv6 only. */
  readonly host: string;
  readonly port: number;
  /** The namespace it lives in; the own one when absent. */
  readonly netns?: Netns | undefined;
  /** SO_MARK of everything it sends. */
  readonly mark?: number | undefined;
}

/** A listening TCP socket; give it to `server.listen({ fd })`. Throws `KernelError` (EADDRINUSE, EACCES, …). */
export function listener(place: SocketPlace & { readonly backlog?: number }): number {
  return build(SOCK_STREAM, place, (fd) => bindAndListen(fd, place));
}

/**
 * A listening TCP socket that accepts connections to any address the routing and BPF send its way: `socket.localAddress` is what the client meant
 * to reach. Needs CAP_NET_ADMIN. Give it to `server.listen({ fd })`.
 */
export function transparentListener(place: SocketPlace & { readonly backlog?: number }): number {
  return build(SOCK_STREAM, place, (fd) => {
    setTransparent(fd, place.host);
    bindAndListen(fd, place);
  });
}

/** A bound UDP socket; give it to `dgram.createSocket(…).bind({ fd })`. */
export function datagram(place: SocketPlace): number {
  return build(SOCK_DGRAM, place, (fd) => bindTo(fd, place));
}

/** A UDP socket bound to an address that need not be the machine's, so its answers leave with that source. */
export function transparentDatagram(place: SocketPlace): number {
  return build(SOCK_DGRAM, place, (fd) => {
    setTransparent(fd, place.host);
    setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    bindTo(fd, place);
  });
}

/** Bytes of datagrams that may wait in one socket while the reader is busy: more than a thousand of the usual size. */
const REDIRECTED_BUFFER = 1 << 20;
/** Where the last word of the source is in the header of IPv4 and IPv6. */
const SOURCE_OFFSET = { 4: 12, 6: 20 } as const;

/**
 * A UDP socket that takes what BPF hands it, whatever its address, and tells a `DatagramSet` where it was meant to go. `shared` of them are to be bound to one place: what
 * one source sends goes to one of them, so that it does not push out what others send. Needs CAP_NET_ADMIN.
 */
export function redirectedDatagram(place: SocketPlace, shared: number): number {
  return build(SOCK_DGRAM, place, (fd) => {
    const ipv6 = isIPv6(place.host);
    setTransparent(fd, place.host);
    setOption(fd, ipv6 ? SOL_IPV6 : SOL_IP, ipv6 ? IPV6_RECVORIGDSTADDR : IP_RECVORIGDSTADDR, 1);
    setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, REDIRECTED_BUFFER);
    setReusePort(fd);
    bindTo(fd, place);
    check("setsockopt SO_ATTACH_REUSEPORT_CBPF", kernel().shareBySource(fd, SOURCE_OFFSET[ipv6 ? 6 : 4], shared));
  });
}

/** Of `SO_MEMINFO`: nine words, the last one counts. */
const [MEMINFO_BYTES, MEMINFO_DROPS] = [36, 32];

/** Datagrams that a socket has had no room for since it was opened. */
export function droppedDatagrams(fd: number): number {
  const into = Buffer.alloc(MEMINFO_BYTES);
  check("getsockopt SO_MEMINFO", kernel().getsockopt(fd, SOL_SOCKET, SO_MEMINFO, into));
  return into.readUInt32LE(MEMINFO_DROPS);
}

/** A UDP socket with another's source address and a random port, connected: it takes datagrams of that server alone. */
export function spoofedDatagram(server: SocketPlace, source: string): number {
  return build(SOCK_DGRAM, { ...server, host: source }, (fd) => {
    setTransparent(fd, source);
    bindTo(fd, { host: source, port: 0 });
    check("connect", kernel().connect(fd, encodeSockaddr(server.host, server.port)), `${server.host} port ${server.port}`);
  });
}

/** Addresses that no machine has (RFC 6890): a raw socket bound to one gets no copies of what others receive. */
const NOBODY = { 4: "192.0.0.8", 6: "100::1" } as const;

/** A raw socket for `sendAs`. Needs CAP_NET_RAW and CAP_NET_ADMIN. */
export function rawUdp({ family, netns }: { readonly family: 4 | 6; readonly netns?: Netns | undefined }): number {
  const place = { host: NOBODY[family], port: 0, netns };
  const prepare = (fd: number) => {
    setTransparent(fd, place.host);
    bindTo(fd, place);
  };
  return build(SOCK_RAW, place, prepare, IPPROTO_UDP);
}

export interface SpoofedStream {
  /** The source address of the connection; need not be the machine's. */
  readonly source: string;
  /** 0 or absent: the kernel picks one at connect, unique for source and destination together. */
  readonly sourcePort?: number | undefined;
  /** The ports the kernel may pick from (Linux 6.3; without effect before); the system's range when absent. */
  readonly localPorts?: { readonly first: number; readonly last: number } | undefined;
  readonly mark?: number | undefined;
  readonly netns?: Netns | undefined;
}

/** A TCP socket with another's source address; connect it with `new net.Socket({ fd }).connect(port, host)`. */
export function spoofedStream({ source, sourcePort = 0, localPorts, mark, netns }: SpoofedStream): number {
  const place = { host: source, port: sourcePort, mark, netns };
  return build(SOCK_STREAM, place, (fd) => {
    setTransparent(fd, source);
    if (sourcePort === 0) setOption(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    else setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (localPorts !== undefined) setPortRange(fd, localPorts);
    bindTo(fd, place);
  });
}

function setPortRange(fd: number, { first, last }: { readonly first: number; readonly last: number }): void {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(((last << 16) | first) >>> 0);
  // Older kernels do not know the option: then the system's range has to do.
  kernel().setsockopt(fd, SOL_IP, IP_LOCAL_PORT_RANGE, bytes);
}

/** A TCP socket not yet bound or connected, of another namespace or with a mark. */
export function stream(place: { readonly family: 4 | 6; readonly netns?: Netns | undefined; readonly mark?: number | undefined }): number {
  return build(SOCK_STREAM, { ...place, host: place.family === 6 ? "::" : "0.0.0.0", port: 0 }, () => {});
}

/** SO_MARK: seen by `ip rule` and by BPF programs as `skb->mark`. */
export function setMark(fd: number, mark: number): void {
  setOption(fd, SOL_SOCKET, SO_MARK, mark);
}

/** Lets several sockets share address and port; the kernel spreads connections over them. Before binding. */
export function setReusePort(fd: number): void {
  setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
}

/** The number `bpf_get_socket_cookie` gives for this socket. */
export function socketCookie(fd: number): bigint {
  const into = Buffer.alloc(8);
  check("getsockopt SO_COOKIE", kernel().getsockopt(fd, SOL_SOCKET, SO_COOKIE, into));
  return into.readBigUInt64LE();
}

/** Closes a descriptor that was not handed to Node. */
export function closeFd(fd: number): void {
  check("close", kernel().close(fd));
}

function build(type: number, place: SocketPlace, prepare: (fd: number) => void, protocol = 0): number {
  const family = isIPv6(place.host) ? AF_INET6 : AF_INET;
  const fd = check("socket", kernel().socket(family, type | SOCK_NONBLOCK, protocol, place.netns?.fd));
  try {
    if (family === AF_INET6 && type !== SOCK_RAW) setOption(fd, SOL_IPV6, IPV6_V6ONLY, 1);
    if (place.mark !== undefined) setMark(fd, place.mark);
    prepare(fd);
    return fd;
  } catch (error) {
    kernel().close(fd);
    throw error;
  }
}

function setTransparent(fd: number, host: string): void {
  if (isIPv6(host)) setOption(fd, SOL_IPV6, IPV6_TRANSPARENT, 1);
  else setOption(fd, SOL_IP, IP_TRANSPARENT, 1);
}

function bindTo(fd: number, { host, port }: SocketPlace): void {
  check("bind", kernel().bind(fd, encodeSockaddr(host, port)), `${host} port ${port}`);
}

function bindAndListen(fd: number, place: SocketPlace & { readonly backlog?: number }): void {
  setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  bindTo(fd, place);
  check("listen", kernel().listen(fd, place.backlog ?? 4096), `${place.host} port ${place.port}`);
}

function setOption(fd: number, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  check("setsockopt", kernel().setsockopt(fd, level, option, bytes), `level ${level} option ${option}`);
}
