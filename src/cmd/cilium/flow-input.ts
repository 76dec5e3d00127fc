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
export async function readObservations(options: FlowOptions): Promise<Observations> {
  const observations = createObservations();
  const take = (response: GetFlowsResponse | undefined) => {
    if (response?.responseTypes.case === "flow") observations.add(response.responseTypes.value as Flow);
  };
  for (const file of options.flows) await readFile(file, take);
  if (options.flows.length === 0) await askRelay(options, take);
  return observations;
}

async function readFile(file: string, take: (response: GetFlowsResponse | undefined) => void): Promise<void> {
  let line = 0;
  try {
    const input = file === "-" ? process.stdin : createReadStream(file);
    for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      line += 1;
      take(readFlowLine(text));
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
