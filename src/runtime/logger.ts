import { type BaseLogger, pino } from "pino";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * A fixed sentence and its fields. error: someone must act; warn: degraded, being retried; info: a change of state that
 * an operator wants to know once; debug: the rest.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  child(name: string): Logger;
}

export interface LoggerOptions {
  readonly level?: LogLevel;
  /** Where lines go; standard error by default. */
  readonly write?: (line: string) => void;
  /** Aligned text instead of JSON; by default when standard error is a terminal. */
  readonly text?: boolean;
  /** Told of every warning and error, and of which part of the program it is. */
  readonly onProblem?: (level: "warning" | "error", subsystem: string) => void;
}

/** Logs as one JSON object a line (`time`, `level`, `subsys`, `msg`, fields), or as aligned text on a terminal. */
export function createLogger(name: string, options: LoggerOptions = {}): Logger {
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  const text = options.text ?? (options.write === undefined && process.stderr.isTTY === true);
  const level = options.level ?? logLevelFromEnvironment();
  const sink = pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: text ? (line: string) => write(formatText(line)) : write },
  );
  return wrap(sink, name, options.onProblem ?? (() => undefined));
}

function logLevelFromEnvironment(): LogLevel {
  const wanted = process.env.CILIUM_LOG_LEVEL;
  return wanted === "debug" || wanted === "warn" || wanted === "error" ? wanted : "info";
}

function wrap(sink: Pick<BaseLogger, LogLevel>, name: string, onProblem: NonNullable<LoggerOptions["onProblem"]>): Logger {
  const log = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (level === "warn" || level === "error") onProblem(level === "warn" ? "warning" : level, name);
    sink[level]({ subsys: name, ...fields }, message);
  };
  return {
    debug: log("debug"),
    info: log("info"),
    warn: log("warn"),
    error: log("error"),
    child: (child) => wrap(sink, `${name}/${child}`, onProblem),
  };
}

function formatText(line: string): string {
  const { time, level, subsys, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const shown = Object.entries(fields).map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return `${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${String(subsys).padEnd(16)} ${[msg, ...shown].join(" ")}\n`;
}

/** A logger that says nothing: for tests. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
