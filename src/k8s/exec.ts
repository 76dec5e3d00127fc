import { once } from "node:events";
import type { ClusterConfig } from "./config.ts";
import { openChannels } from "./websocket.ts";

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
/** v5 of the protocol: a close message, followed by the number of the channel whose end was reached. */
const CLOSE = 255;

export interface ExecRequest {
  readonly namespace: string;
  readonly pod: string;
  readonly container?: string;
  readonly command: readonly string[];
  readonly stdin?: string | Buffer;
  readonly onStdout?: (chunk: Buffer) => void;
  readonly onStderr?: (chunk: Buffer) => void;
  readonly signal?: AbortSignal;
}

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface ExecStatus {
  readonly status?: string;
  readonly message?: string;
  readonly reason?: string;
  readonly details?: { readonly causes?: readonly { readonly reason?: string; readonly message?: string }[] };
}

/**
 * Runs a command in a container and collects its output (chunks go to the callbacks as they come, too). The exit code is the
 * command's own. Rejects with `KubeError` when the command could not be started.
 */
export async function execInPod(config: ClusterConfig, request: ExecRequest): Promise<ExecResult> {
  const query = new URLSearchParams({ stdout: "true", stderr: "true", stdin: String(request.stdin !== undefined) });
  if (request.container) query.set("container", request.container);
  for (const word of request.command) query.append("command", word);
  const path = `/api/v1/namespaces/${request.namespace}/pods/${request.pod}/exec?${query}`;
  const socket = await openChannels(config, path, "v5.channel.k8s.io");
  const output = { [STDOUT]: [] as Buffer[], [STDERR]: [] as Buffer[], [ERROR]: [] as Buffer[] };
  socket.on("message", (data: Buffer) => {
    const channel = data[0] as keyof typeof output;
    const chunk = data.subarray(1);
    output[channel]?.push(chunk);
    if (channel === STDOUT) request.onStdout?.(chunk);
    if (channel === STDERR) request.onStderr?.(chunk);
  });
  request.signal?.addEventListener("abort", () => socket.terminate(), { once: true });
  if (request.stdin !== undefined) {
    socket.send(Buffer.concat([Buffer.of(STDIN), Buffer.from(request.stdin)]));
    socket.send(Buffer.of(CLOSE, STDIN));
  }
  await once(socket, "close");
  const text = (channel: keyof typeof output) => Buffer.concat(output[channel]).toString("utf8");
  return { exitCode: exitCodeOf(text(ERROR)), stdout: text(STDOUT), stderr: text(STDERR) };
}

/** The error channel carries a Status; a command that ended with another code than 0 has it as the cause `ExitCode`. */
function exitCodeOf(text: string): number {
  if (text === "") return 1;
  const status = JSON.parse(text) as ExecStatus;
  if (status.status === "Success") return 0;
  const cause = status.details?.causes?.find(({ reason }) => reason === "ExitCode");
  return cause ? Number(cause.message) : 1;
}
