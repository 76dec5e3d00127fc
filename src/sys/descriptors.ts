import { check } from "./kernel-error.ts";
import { kernel } from "./native.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const EAGAIN = -11;
const MAX_DESCRIPTORS = 192;
const MAX_TEXT = 16_384;

/** A connection to a Unix socket, as a descriptor. Throws `KernelError`: ENOENT and ECONNREFUSED when nobody listens. */
export function connectUnix(path: string): number {
  const fd = check("socket", kernel().socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  try {
    check("connect", kernel().connect(fd, Buffer.from([AF_UNIX, 0, ...Buffer.from(path), 0])), path);
    return fd;
  } catch (thrown) {
    kernel().close(fd);
    throw thrown;
  }
}

/** Open files under the names by which those who pass them on know them: at most 192, and 16 KiB of names. */
export type Descriptors = ReadonlyMap<string, number>;

/** Gives whoever is at the other end of a Unix socket what these descriptors stand for. Throws `KernelError`. */
export function sendDescriptors(socket: number, files: Descriptors): void {
  const text = Buffer.from(JSON.stringify([...files.keys()]));
  const fds = Buffer.from(Int32Array.from(files.values()).buffer);
  check("sendmsg", kernel().sendDescriptors(socket, text, fds));
}

/** What was sent, close-on-exec; nothing at the end of the connection, undefined when it has not come yet. Throws `KernelError`. */
export function receiveDescriptors(socket: number): Descriptors | undefined {
  const text = Buffer.alloc(MAX_TEXT);
  const fds = new Int32Array(MAX_DESCRIPTORS);
  const length = kernel().receiveDescriptors(socket, text, Buffer.from(fds.buffer));
  if (length === EAGAIN) return undefined;
  if (check("recvmsg", length) === 0) return new Map();
  const names = JSON.parse(text.toString("utf8", 0, length)) as string[];
  return new Map(names.map((name, i) => [name, fds[i] ?? -1]));
}
