import { check } from "./kernel-error.ts";
import { kernel } from "./native.ts";
import type { Netns } from "./netns.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;

/** A netlink socket of one protocol (0 = route), in the own or another namespace. Requests and answers are whole netlink messages. */
export class NetlinkSocket implements Disposable {
  readonly #fd: number;
  /** The kernel fills 32 KiB at most. */
  readonly #into = Buffer.allocUnsafe(64 * 1024);

  constructor(protocol: number, netns?: Netns) {
    this.#fd = check("socket AF_NETLINK", kernel().socket(AF_NETLINK, SOCK_RAW, protocol, netns?.fd));
    const on = Buffer.from([1, 0, 0, 0]);
    // Short acknowledgements, with the kernel's own words on failure; dumps that respect their filter.
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) kernel().setsockopt(this.#fd, SOL_NETLINK, option, on);
    kernel().setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, Buffer.from(new Uint32Array([4 << 20]).buffer));
  }

  /** Sends; the kernel has done the work and queued its answers when this returns. */
  send(messages: Uint8Array): void {
    check("send AF_NETLINK", kernel().send(this.#fd, messages, 0));
  }

  /** `send` away from the main thread, for requests the kernel takes long for. */
  async sendLater(messages: Uint8Array): Promise<void> {
    check("send AF_NETLINK", await kernel().sendLater(this.#fd, messages, 0));
  }

  /** The next datagram of answers; valid until the next call. */
  receive(): Buffer {
    return this.#into.subarray(0, check("recv AF_NETLINK", kernel().recv(this.#fd, this.#into, 0)));
  }

  close(): void {
    kernel().close(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
