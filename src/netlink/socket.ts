import { errnoName } from "#sys/errno.ts";
import type { Netns } from "#sys/netns.ts";
import { NetlinkSocket } from "#sys/rawsocket.ts";
import { decodeAddress, decodeLink, decodeNeighbour, decodeRoute, decodeRule } from "./decode.ts";
import { AF, alreadySo, ifinfomsg, RTM, writeChange, writeLinkRequest, writeVeth } from "./encode.ts";
import { type Answer, MessageWriter, NLM, readAnswers } from "./message.ts";
import type { Change, Link, Netlink, VethPair, VethRequest } from "./netlink.ts";
import { describeChange, NetlinkError } from "./netlink-error.ts";

const NETLINK_ROUTE = 0;
const ENODEV = 19;

/** rtnetlink of the own namespace or another; the socket stays in it. Needs CAP_NET_ADMIN there for changes. */
export function openNetlink(place: { readonly netns?: Netns } = {}): Netlink {
  return new KernelNetlink(new NetlinkSocket(NETLINK_ROUTE, place.netns), () => new NetlinkSocket(NETLINK_ROUTE, place.netns));
}

class KernelNetlink implements Netlink {
  readonly #socket: NetlinkSocket;
  readonly #another: () => NetlinkSocket;
  /** For what the kernel takes long for, opened when first needed: of its own, so that its answers cannot be taken for others'. */
  #slow: NetlinkSocket | undefined;
  #slowQueue: Promise<unknown> = Promise.resolve();
  #sequence = 1;

  constructor(socket: NetlinkSocket, another: () => NetlinkSocket) {
    this.#socket = socket;
    this.#another = another;
  }

  createVeth(request: VethRequest): VethPair {
    const first = this.#sequence;
    const made = this.#exchange((writer) => {
      writeVeth(writer, request);
      writeLinkRequest(writer, RTM.getLink, request.name, NLM.ACK);
    }, 2);
    const refused = made.find((answer) => answer.kind === "ack" && answer.sequence === first && answer.errno !== 0);
    if (refused?.kind === "ack") throw new NetlinkError(`veth ${request.name}`, refused.errno, refused.words);
    const found = made.find((answer) => answer.kind === "data");
    if (found?.kind !== "data") throw new NetlinkError(`veth ${request.name}`, ENODEV, "made, but not found");
    const { index, mac, peerIndex } = decodeLink(found.body);
    return { index, mac, peerIndex };
  }

  apply(changes: readonly Change[]): void {
    if (changes.length === 0) return;
    const first = this.#sequence;
    const answers = this.#exchange((writer) => {
      for (const change of changes) writeChange(writer, change);
    }, changes.length);
    for (const answer of answers) {
      if (answer.kind !== "ack" || answer.errno === 0) continue;
      const change = changes[answer.sequence - first];
      if (change && alreadySo(change).includes(errnoName(answer.errno))) continue;
      throw new NetlinkError(change ? describeChange(change) : "change", answer.errno, answer.words, change);
    }
  }

  deleteLink(link: number | string): Promise<boolean> {
    const done = this.#slowQueue.then(() => this.#deleteNow(link));
    this.#slowQueue = done.catch(() => undefined);
    return done;
  }

  async #deleteNow(link: number | string): Promise<boolean> {
    this.#slow ??= this.#another();
    const writer = new MessageWriter(this.#sequence++);
    writeLinkRequest(writer, RTM.delLink, link, NLM.ACK);
    await this.#slow.sendLater(writer.finish());
    const [answer] = readAnswers(this.#slow.receive());
    const errno = answer?.kind === "ack" ? answer.errno : 0;
    if (errno === ENODEV) return false;
    if (answer?.kind === "ack" && errno !== 0) throw new NetlinkError(`delete link ${link}`, errno, answer.words);
    return true;
  }

  links(): Link[] {
    return this.#dump(RTM.getLink, ifinfomsg(0, 0, 0), decodeLink);
  }

  link(link: number | string): Link | undefined {
    const answers = this.#exchange((writer) => writeLinkRequest(writer, RTM.getLink, link, NLM.ACK), 1);
    const found = answers.find((answer) => answer.kind === "data");
    if (found?.kind === "data") return decodeLink(found.body);
    const refused = answers.find((answer) => answer.kind === "ack");
    if (refused?.kind === "ack" && refused.errno !== ENODEV) throw new NetlinkError(`link ${link}`, refused.errno, refused.words);
    return undefined;
  }

  addresses() {
    return this.#dump(RTM.getAddr, Buffer.alloc(8), decodeAddress);
  }

  routes() {
    return [AF[4], AF[6]].flatMap((family) => this.#dump(RTM.getRoute, header(12, family), decodeRoute));
  }

  neighbours() {
    return this.#dump(RTM.getNeigh, Buffer.alloc(12), decodeNeighbour).filter((neighbour) => neighbour !== undefined);
  }

  rules() {
    return [AF[4], AF[6]].flatMap((family) => this.#dump(RTM.getRule, header(12, family), decodeRule));
  }

  close(): void {
    this.#socket.close();
    const slow = this.#slow;
    if (slow) this.#slowQueue = this.#slowQueue.finally(() => slow.close());
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** One send; answers until `acks` requests have been acknowledged or refused. Bodies are copies. */
  #exchange(write: (writer: MessageWriter) => void, acks: number): Answer[] {
    const first = this.#sequence;
    const writer = new MessageWriter(first);
    write(writer);
    this.#sequence += acks;
    this.#socket.send(writer.finish());
    const answers: Answer[] = [];
    for (let left = acks; left > 0; ) {
      for (const answer of readAnswers(this.#socket.receive())) {
        if (answer.sequence < first) continue;
        answers.push(answer.kind === "data" ? { ...answer, body: Buffer.from(answer.body) } : answer);
        if (answer.kind === "ack") left--;
      }
    }
    return answers;
  }

  #dump<T>(type: number, fixed: Buffer, decode: (body: Buffer) => T): T[] {
    const sequence = this.#sequence++;
    const writer = new MessageWriter(sequence);
    writer.begin(type, NLM.DUMP, fixed);
    this.#socket.send(writer.finish());
    const found: T[] = [];
    for (;;) {
      for (const answer of readAnswers(this.#socket.receive())) {
        if (answer.sequence !== sequence) continue;
        if (answer.kind === "done") return found;
        if (answer.kind === "data") found.push(decode(answer.body));
        else if (answer.errno !== 0) throw new NetlinkError("dump", answer.errno, answer.words);
      }
    }
  }
}

function header(size: number, family: number): Buffer {
  const fixed = Buffer.alloc(size);
  fixed[0] = family;
  return fixed;
}
