import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { createClient } from "@connectrpc/connect";
import type { Flow } from "#api/gen/flow/flow_pb.ts";
import { type GetFlowsResponse, Observer } from "#api/gen/observer/observer_pb.ts";
import { callFailure } from "#hubble/cli/connect.ts";
import { readFlowLine } from "#hubble/cli/input-file.ts";
import { parseTime } from "#hubble/cli/time.ts";
import { openConnection } from "#hubble/client/transport.ts";
import { createObservations, type Observations } from "#policy/replay/observed.ts";
import { CodedError, errorMessage } from "#runtime/errors.ts";
import { withRelay } from "./hubble.ts";
import { reasonOf } from "./object-files.ts";

/** Recorded flows cannot be read; the message names the file and the line. */
export class FlowInputError extends CodedError {}

export interface FlowOptions {
  readonly kubeconfig?: string | undefined;
  /** Namespace that Cilium runs in. */
  readonly namespace: string;
  /** Files of JSON lines; none: the relay is asked. */
  readonly flows: readonly string[];
  /** From when on the relay is asked: a duration before now, or RFC 3339. */
  readonly since: string;
  readonly server?: string | undefined;
}

const CONNECT_MS = 10_000;

/** The distinct traffic of the flows that the flags name. Rejects when they cannot be had. */
async function readObservations(options: FlowOptions): Promise<Observations> {
  const observations = createObservations();
  const take = (response: GetFlowsResponse | undefined) => {
    if (response?.responseTypes.case === "flow") observations.add(response.responseTypes.value as Flow);
  };
  for (const file of options.flows) await readFile(file, take);
  if (options.flows.length === 0) await askRelay(options, take);
  return observations;
}

/** A line of `hubble observe -o json`; undefined for an empty one. Throws for anything else, also for an object that only looks like a flow. */
export function flowResponse(text: string): GetFlowsResponse | undefined {
  const response = readFlowLine(text);
  if (response && response.responseTypes.case === undefined) throw new FlowInputError("no-ends", "it says nothing of any flow");
  const { responseTypes: { case: kind, value } = { case: undefined } } = response ?? {};
  if (kind === "flow" && value.IP === undefined && value.source === undefined && value.destination === undefined)
    throw new FlowInputError("no-ends", "it names neither a source nor a destination");
  return response;
}

/** What was recorded, when something of it says which way it goes. Rejects with a reason when nothing does: no answer could be built on it. */
export async function readTraffic(options: FlowOptions): Promise<Observations> {
  const observations = await readObservations(options);
  if (observations.flows === 0) throw new FlowInputError("no-data", "there are no flows to replay: that says nothing about the policies");
  if (observations.list().length === 0) {
    const reasons = [...observations.leftOut].map(([reason, count]) => `${count} ${reason}`).join(", ");
    throw new FlowInputError("no-data", `none of the ${observations.flows} flows can be replayed: ${reasons}`);
  }
  return observations;
}

async function readFile(file: string, take: (response: GetFlowsResponse | undefined) => void): Promise<void> {
  let line = 0;
  try {
    const input = file === "-" ? process.stdin : createReadStream(file);
    for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      line += 1;
      take(flowResponse(text));
    }
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (line === 0 || code === "ENOENT") throw new FlowInputError("unreadable", `cannot read ${file}: ${reasonOf(thrown)}`);
    throw new FlowInputError("no-flow", `${file}:${line}: no flow as \`hubble observe -o json\` writes them: ${errorMessage(thrown)}`);
  }
}

async function askRelay(options: FlowOptions, take: (response: GetFlowsResponse) => void): Promise<void> {
  const since = parseTime("--since", options.since);
  const ask = async (server: string) => {
    using connection = openConnection({ server, dialTimeoutMs: CONNECT_MS });
    try {
      for await (const response of createClient(Observer, connection.transport).getFlows({ since, number: 0n })) take(response);
    } catch (thrown) {
      throw callFailure(thrown, server);
    }
  };
  const server = options.server ?? process.env.HUBBLE_SERVER;
  if (server) await ask(server);
  else await withRelay(options, (port) => ask(`127.0.0.1:${port}`));
}
