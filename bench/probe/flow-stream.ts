import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setImmediate as turn } from "node:timers/promises";
import type { Observer } from "#hubble/observer/observer.ts";
import { formatSocketAddress } from "#hubble/server/address.ts";
import { startHubbleServer } from "#hubble/server/hubble.ts";
import { createPeerTable } from "#hubble/server/peers.ts";
import { silentLogger } from "#runtime/logger.ts";
import { cpuMicroseconds, pushRecords } from "./flow-records.ts";

const CLIENT = new URL("flow-client.ts", import.meta.url).pathname;
/** Records that are made flows between two looks at the sockets, as an agent reads them off the kernel's ring. */
const BURST = 256;

/** What a client in a process of its own got, and what it cost this one. */
export interface Streamed {
  readonly flows: number;
  readonly lost: number;
  readonly seconds: number;
  readonly cpuUs: number;
}

/**
 * From the kernel's records to a client that follows, until so many flows have been made: so many a second (`rate`), or as fast as this
 * process can. `during` is called between bursts.
 */
export async function streamFlows(
  observer: Observer,
  wanted: number,
  { rate = Number.POSITIVE_INFINITY, during = () => {} }: { readonly rate?: number; readonly during?: () => void } = {},
): Promise<Streamed> {
  await using server = await startHubbleServer({ observer, peers: createPeerTable(), log: silentLogger }, { listen: ["127.0.0.1:0"] });
  const [address] = server.addresses;
  if (address === undefined) throw new Error("the server listens nowhere");
  pushRecords(observer, 1);
  const args = [CLIENT, "--server", formatSocketAddress(address), "--flows", String(wanted)];
  const client = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
  await lines.next();
  const [start, cpu] = [performance.now(), cpuMicroseconds()];
  for (let made = 1; made < wanted; ) {
    const due = Math.min(wanted, ((performance.now() - start) / 1000) * rate) - made;
    const count = Math.max(0, Math.min(BURST, Math.ceil(due)));
    pushRecords(observer, count);
    made += count;
    await turn();
    during();
  }
  const { value } = await lines.next();
  const seconds = (performance.now() - start) / 1000;
  const { flows, lost } = JSON.parse(String(value)) as { readonly flows: number; readonly lost: number };
  return { flows, lost, seconds, cpuUs: cpuMicroseconds() - cpu };
}
