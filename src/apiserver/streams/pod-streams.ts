import type { Duplex, Readable, Writable } from "node:stream";
import type { KubeObject } from "../object.ts";

/** How to reach the processes of pods. Implemented by whoever runs them; failures are `ApiError`s. */
export interface PodStreams {
  /** Starts a command in a container. Rejects when it cannot be started (no such file, container not running). */
  exec(request: ExecRequest): Promise<StreamSession>;
  /** Joins the container's main process. Rejects when it is not running. */
  attach(request: AttachRequest): Promise<StreamSession>;
  /** The container's output; ends with the log, or with the container when following. Destroyed when the reader goes. */
  logs(request: LogRequest): Promise<Readable>;
  /** A connection to a TCP port inside of the pod's network. Rejects when nothing listens. */
  portForward(request: PortForwardRequest): Promise<Duplex>;
}

export interface AttachRequest {
  readonly pod: KubeObject;
  readonly container: string;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

export interface ExecRequest extends AttachRequest {
  readonly command: readonly string[];
}

export interface LogRequest {
  readonly pod: KubeObject;
  readonly container: string;
  readonly follow: boolean;
  /** The container before its last restart. */
  readonly previous: boolean;
  readonly timestamps: boolean;
  readonly tailLines?: number;
  readonly sinceSeconds?: number;
  /** RFC 3339. */
  readonly sinceTime?: string;
  readonly limitBytes?: number;
}

export interface PortForwardRequest {
  readonly pod: KubeObject;
  readonly port: number;
}

export interface ExitStatus {
  readonly code: number;
  /** Why there is no exit code of the process itself. */
  readonly message?: string;
}

export interface StreamSession {
  readonly stdin?: Writable;
  readonly stdout?: Readable;
  /** Absent with a terminal: everything comes by stdout. */
  readonly stderr?: Readable;
  readonly exit: Promise<ExitStatus>;
  resize(size: { readonly width: number; readonly height: number }): void;
  /** The client went away: kill (exec) or let go (attach). */
  close(): void;
}
