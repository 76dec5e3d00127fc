import { createRegistry, fromJson, type JsonValue, toJsonString } from "@bufbuild/protobuf";
import { ExplanationSchema } from "#api/gen/cilia/explanation_pb.ts";
import type { LostEvent } from "#api/gen/flow/events_pb.ts";
import { type Flow, type FlowFilter, FlowFilterSchema } from "#api/gen/flow/flow_pb.ts";
import { type ExportEvent, ExportEventSchema } from "#api/gen/observer/observer_pb.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { compileFilters } from "../filters/build.ts";
import { FilterError } from "../filters/text.ts";
import { compileMask } from "../observer/mask.ts";
import type { Observer } from "../observer/observer.ts";
import { createRotatingFile, type RotatingFile } from "./rotating-file.ts";

/** One flow log: which flows go where, in upstream's words. */
export interface FlowLogConfig {
  readonly name: string;
  /** `stdout`: to the log of the agent. */
  readonly filePath: string;
  readonly fileMaxSizeMb: number;
  readonly fileMaxBackups: number;
  readonly fileCompress: boolean;
  readonly fieldMask: readonly string[];
  readonly includeFilters: readonly FlowFilter[];
  readonly excludeFilters: readonly FlowFilter[];
  /** No flow after this, milliseconds since 1970. */
  readonly end: number | undefined;
}

/** Upstream's defaults (`hubble-export-file-max-size-mb`, `-max-backups`, `-compress`). */
export const FLOW_LOG_DEFAULTS = { fileMaxSizeMb: 10, fileMaxBackups: 5, fileCompress: false } as const;

/** A filter in the JSON form of `hubble observe --print-raw-filters`. Throws FilterError naming the setting. */
export function parseFlowFilter(setting: string, json: unknown): FlowFilter {
  try {
    return fromJson(FlowFilterSchema, json as JsonValue);
  } catch (thrown) {
    throw new FilterError(setting, errorMessage(thrown));
  }
}

export interface FlowLog extends AsyncDisposable {
  /** Lines written, and flows that the disk did not take. */
  counts(): { readonly written: number; readonly lost: number };
}

const FLUSH_AFTER_MS = 200;
const MAX_WAITING = 65_536;
const COMPLAIN_EVERY_MS = 60_000;
const JSON_OPTIONS = { useProtoFieldName: true, registry: createRegistry(ExplanationSchema) };

/**
 * Writes the observer's flows to a file, one JSON line an `ExportEvent`, as upstream's exporter. Throws FilterError for a filter or mask that
 * cannot be understood. What the disk does not take is counted and logged, once a minute at most; the observer never waits.
 */
export function startFlowLog(observer: Observer, log: Logger, config: FlowLogConfig): FlowLog {
  const matches = compileFilters(config.includeFilters, config.excludeFilters);
  // Other programs' protobuf-JSON fails on our extension: it is written only when it is named.
  const mask = config.fieldMask.length === 0 ? (flow: Flow) => ({ ...flow, extensions: undefined }) : compileMask(config.fieldMask);
  const file = openOutput(config);
  const { nodeName } = observer.names;
  const queue = startQueue(file, log, config);
  const sinks = new DisposableStack();
  const isOver = () => config.end !== undefined && Date.now() >= config.end;
  sinks.use(
    observer.onFlow((flow) => {
      if (!isOver() && matches(flow)) queue.add(() => flowLine(mask(flow), nodeName, flow));
    }),
  );
  sinks.use(
    observer.onLost((event) => {
      if (!isOver()) queue.add(() => lostLine(event, nodeName));
    }),
  );
  return {
    counts: queue.counts,
    async [Symbol.asyncDispose]() {
      sinks.dispose();
      await queue[Symbol.asyncDispose]();
      await file[Symbol.asyncDispose]();
    },
  };
}

function openOutput({ filePath, fileMaxSizeMb, fileMaxBackups, fileCompress }: FlowLogConfig): RotatingFile {
  if (filePath === "stdout") return standardOutput();
  return createRotatingFile({ path: filePath, maxBytes: fileMaxSizeMb * 1024 * 1024, maxBackups: fileMaxBackups, compress: fileCompress });
}

/** Never rotated, never closed: others write there too. */
function standardOutput(): RotatingFile {
  return {
    append: (text) =>
      new Promise((resolve, reject) => {
        process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
      }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function flowLine(flow: Flow, nodeName: string, { time }: Flow): string {
  return line({ $typeName: "observer.ExportEvent", responseTypes: { case: "flow", value: flow }, nodeName, time });
}

function lostLine(event: LostEvent, nodeName: string): string {
  const time = event.last ?? event.first;
  return line({ $typeName: "observer.ExportEvent", responseTypes: { case: "lostEvents", value: event }, nodeName, time });
}

function line(event: ExportEvent): string {
  return `${toJsonString(ExportEventSchema, event, JSON_OPTIONS)}\n`;
}

/** Lines on their way to the disk; they are made when their turn comes, not when the flow is seen. */
function startQueue(file: RotatingFile, log: Logger, { name, filePath }: FlowLogConfig) {
  let waiting: (() => string)[] = [];
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();
  let quietUntil = 0;
  const counts = { written: 0, lost: 0 };
  const complain = (error: string) => {
    if (performance.now() < quietUntil) return;
    quietUntil = performance.now() + COMPLAIN_EVERY_MS;
    log.warn("flow log cannot be written", { name, file: filePath, lost: counts.lost, error });
  };
  const write = async (): Promise<void> => {
    const lines = waiting;
    waiting = [];
    if (lines.length === 0) return;
    try {
      await file.append(lines.map((make) => make()).join(""));
      counts.written += lines.length;
    } catch (thrown) {
      counts.lost += lines.length;
      complain(errorMessage(thrown));
      await closeQuietly(file);
    }
  };
  const flush = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    writing = writing.then(write);
    return writing;
  };
  return {
    counts: () => ({ ...counts }),
    add(make: () => string) {
      if (waiting.length >= MAX_WAITING) {
        counts.lost++;
        complain("flows come faster than the disk takes them");
        return;
      }
      waiting.push(make);
      timer ??= setTimeout(() => void flush(), FLUSH_AFTER_MS).unref();
    },
    [Symbol.asyncDispose]: flush,
  };
}

// Closing after a failed write may fail for the same reason, which is told already.
async function closeQuietly(file: RotatingFile): Promise<void> {
  try {
    await file[Symbol.asyncDispose]();
  } catch {}
}
