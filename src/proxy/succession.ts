import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type Server, Socket } from "node:net";
import { dirname } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { aborted } from "#runtime/scope.ts";
import { connectUnix, type Descriptors, receiveDescriptors, sendDescriptors } from "#sys/descriptors.ts";
import { type FileLock, openLock } from "#sys/file-lock.ts";
import { isKernelError } from "#sys/kernel-error.ts";
import { closeFd } from "#sys/socket.ts";

/** Where the proxies of a node find each other. */
export interface SuccessionConfig {
  /** Unix socket at which the one that serves gives its sockets to those that wait; the lock is beside it. */
  readonly path: string;
  /** Opens the sockets that one needs, of which others may hold some already. */
  readonly open: (held?: Descriptors) => Descriptors;
  /** At its abort a proxy waits no more, unless it is the only one. */
  readonly signal: AbortSignal;
}

/** A place in the row of proxies that share sockets. */
export interface Place {
  readonly sockets: Descriptors;
  /** Tells whoever serves that it may end. */
  ready(): void;
  /** Resolves when nobody else serves on the sockets; with undefined when the signal aborts and another does. */
  readonly turn: Promise<Turn | undefined>;
}

/** The time in which a proxy serves. Disposing it lets the next one. */
export interface Turn extends AsyncDisposable {
  /** Resolves when another is ready to go on, and will: even if it is told to end meanwhile. */
  successor(): Promise<void>;
}

const RETRY_MS = 2;

/** What the kernel keeps order by: it takes a lock back at the end of a process. */
interface Locks {
  /** Whoever serves has it. */
  readonly turn: FileLock;
  /** All who have the sockets share it; who opens them has it alone. */
  readonly sockets: FileLock;
}

/**
 * Of the proxies of a node one serves, and the others hold its sockets, too: when it ends, however it ends, nothing that waits in them is lost, and the next goes on. The
 * first opens the sockets. Rejects when it cannot.
 */
export async function takePlace(config: SuccessionConfig): Promise<Place> {
  mkdirSync(dirname(config.path), { recursive: true });
  const locks = { turn: openLock(`${config.path}.turn`), sockets: openLock(`${config.path}.sockets`) };
  for (;;) {
    const holder = await meetHolder(config);
    if (holder && locks.sockets.take("shared")) return placeBehind(holder, locks.turn, config);
    if (holder) keepConnection(holder, false).destroy();
    else if (locks.sockets.take() && locks.turn.take()) return await placeFirst(locks, config);
    locks.sockets.release();
    await wait(RETRY_MS);
  }
}

async function placeFirst(locks: Locks, config: SuccessionConfig): Promise<Place> {
  const sockets = config.open();
  const turn = await beginTurn(locks.turn, sockets, config);
  while (!locks.sockets.take("shared")) await wait(RETRY_MS);
  return { sockets, ready: () => undefined, turn: Promise.resolve(turn) };
}

/** The one that serves, as those see it that wait. */
interface Holder {
  readonly sockets: Descriptors;
  readonly connection: Socket;
}

const READY = Buffer.from([1]);

function placeBehind(first: Holder, lock: FileLock, config: SuccessionConfig): Place {
  const sockets = config.open(first.sockets);
  let { connection } = first;
  let isReady = false;
  /** Waits behind one holder after the other; their sockets are the same. */
  const awaitTurn = async (): Promise<Turn | undefined> => {
    for (;;) {
      await Promise.race([ended(connection), aborted(config.signal)]);
      // The holder may have given way to us in this moment: it lets us go, or the lock is ours.
      if (config.signal.aborted) await ended(connection.end());
      if (lock.take()) return await beginTurn(lock, sockets, config);
      if (config.signal.aborted) return undefined;
      const next = await meetHolder(config);
      if (next === undefined) await wait(RETRY_MS);
      else connection = keepConnection(next, isReady);
    }
  };
  const ready = () => {
    isReady = true;
    connection.write(READY);
  };
  return { sockets, ready, turn: awaitTurn() };
}

/** Its sockets we have already. */
function keepConnection({ sockets, connection }: Holder, isReady: boolean): Socket {
  for (const fd of sockets.values()) closeFd(fd);
  if (isReady) connection.write(READY);
  return connection;
}

/** The one whose turn it is. Undefined when it is gone, or does not listen yet. */
async function meetHolder({ path, signal }: SuccessionConfig): Promise<Holder | undefined> {
  let fd: number;
  try {
    fd = connectUnix(path);
  } catch (thrown) {
    if (isKernelError(thrown, "ENOENT", "ECONNREFUSED", "EAGAIN")) return undefined;
    throw thrown;
  }
  let sockets = receive(fd);
  while (sockets === undefined && !signal.aborted) {
    await wait(RETRY_MS);
    sockets = receive(fd);
  }
  if (sockets === undefined || sockets.size === 0) {
    closeFd(fd);
    return undefined;
  }
  const connection = new Socket({ fd, readable: true, writable: true }).resume();
  connection.on("error", () => undefined);
  return { sockets, connection };
}

/** None when the other end died before it gave any. */
function receive(fd: number): Descriptors | undefined {
  try {
    return receiveDescriptors(fd);
  } catch (thrown) {
    if (isKernelError(thrown, "ECONNRESET")) return new Map();
    throw thrown;
  }
}

function ended(connection: Socket): Promise<void> {
  if (connection.destroyed) return Promise.resolve();
  return new Promise((resolve) => connection.once("close", () => resolve()));
}

/** Gives the sockets to everyone who comes, as long as the turn lasts. */
async function beginTurn(lock: FileLock, sockets: Descriptors, { path }: SuccessionConfig): Promise<Turn> {
  const waiting = new Set<Socket>();
  const ready = new Set<Socket>();
  let givesWay = false;
  let tell: (() => void) | undefined;
  const giveWay = () => {
    givesWay = ready.size > 0;
    if (givesWay) tell?.();
  };
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    waiting.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      waiting.delete(socket);
      ready.delete(socket);
    });
    socket.on("data", () => {
      ready.add(socket);
      if (tell) giveWay();
    });
    // It is to end. Once we count on it, it has to stay: it hears of us when the lock is free.
    socket.on("end", () => {
      if (givesWay) return;
      ready.delete(socket);
      socket.destroy();
    });
    give(socket, sockets);
  });
  await listen(server, path);
  return {
    successor: () =>
      new Promise<void>((resolve) => {
        tell = resolve;
        giveWay();
      }),
    async [Symbol.asyncDispose]() {
      // Its file goes now: later it would be the next one's.
      server.close();
      lock.release();
      for (const socket of waiting) socket.destroy();
    },
  };
}

async function listen(server: Server, path: string): Promise<void> {
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve));
  chmodSync(path, 0o600);
}

function give(socket: Socket, sockets: Descriptors): void {
  try {
    sendDescriptors(descriptorOf(socket), sockets);
  } catch {
    socket.destroy();
  }
}

/** Node has no public name for it. */
function descriptorOf(socket: Socket): number {
  return (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
}
