import { createReadStream, existsSync } from "node:fs";
import { create, createRegistry, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ExplanationSchema } from "#api/gen/cilia/explanation_pb.ts";
import { FlowSchema } from "#api/gen/flow/flow_pb.ts";
import { type GetFlowsRequest, type GetFlowsResponse, GetFlowsResponseSchema } from "#api/gen/observer/observer_pb.ts";
import { compileFilters } from "../filters/build.ts";
import { FilterError } from "../filters/text.ts";
import { nanosecondsOf } from "../parser/messages.ts";
import { UsageError } from "./args.ts";
import type { CommandContext } from "./context.ts";
import type { FlowTaker } from "./flow-source.ts";

/** Prints the flows of a file of JSON lines (`-`: standard input) as if a server had sent them. */
export async function observeFile(context: CommandContext, request: GetFlowsRequest, printer: FlowTaker, file: string): Promise<void> {
  const wanted = wantedOf(request);
  if (file !== "-" && !existsSync(file)) throw new UsageError(`open ${file}: no such file or directory`);
  const input = file === "-" ? context.stdin : createReadStream(file);
  const chosen = choose(request, printer);
  let number = 0;
  for await (const text of linesOf(input)) {
    const response = parseResponse(text, context, ++number);
    if (response !== undefined && wanted(response) && !chosen.take(response)) break;
  }
  chosen.end();
}

/** Only line feeds end a line: readline would also break JSON at U+2028, which may stand in it unescaped. */
async function* linesOf(input: AsyncIterable<Buffer | string>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of input) {
    const lines = (rest + (typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true }))).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

/** Prints at once, or keeps the newest until the end. `take` says whether more is wanted. */
function choose(request: GetFlowsRequest, printer: FlowTaker): { take(response: GetFlowsResponse): boolean; end(): void } {
  const limit = request.number === 0n ? Number.POSITIVE_INFINITY : Number(request.number);
  if (request.first || limit === Number.POSITIVE_INFINITY) {
    let printed = 0;
    return {
      take(response) {
        printer.print(response);
        return ++printed < limit;
      },
      end: () => undefined,
    };
  }
  const newest: GetFlowsResponse[] = [];
  return {
    take(response) {
      newest.push(response);
      if (newest.length > limit) newest.shift();
      return true;
    },
    end() {
      for (const response of newest) printer.print(response);
    },
  };
}

function wantedOf(request: GetFlowsRequest): (response: GetFlowsResponse) => boolean {
  const matches = compile(request);
  const since = request.since === undefined ? 0n : nanosecondsOf(request.since);
  const until = request.until === undefined ? undefined : nanosecondsOf(request.until);
  return ({ responseTypes, time: stamp }) => {
    const flow = responseTypes.case === "flow" ? responseTypes.value : undefined;
    const time = nanosecondsOf(stamp);
    if (time < since || (until !== undefined && time > until)) return false;
    // What is no flow has nothing that a filter could ask for.
    return flow === undefined ? request.whitelist.length === 0 : matches(flow);
  };
}

function compile(request: GetFlowsRequest): ReturnType<typeof compileFilters> {
  try {
    return compileFilters(request.whitelist, request.blacklist);
  } catch (thrown) {
    throw thrown instanceof FilterError ? new UsageError(thrown.message) : thrown;
  }
}

/** What a line says; what is no flow is reported and left out. */
function parseResponse(text: string, context: CommandContext, line: number): GetFlowsResponse | undefined {
  try {
    return readFlowLine(text);
  } catch (thrown) {
    context.err(`hubble: line ${line} is no flow: ${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
    return undefined;
  }
}

const RESPONSE_TYPES: ReadonlySet<string> = new Set(["flow", "lost_events", "node_status"]);

/** A line of `hubble observe -o json`: a response or, as before 0.11, a bare flow. Undefined for an empty one; throws for anything else. */
export function readFlowLine(text: string): GetFlowsResponse | undefined {
  if (text.trim() === "") return undefined;
  const options = { ignoreUnknownFields: true, registry: createRegistry(ExplanationSchema) };
  const json = JSON.parse(text) as JsonValue;
  const keys = typeof json === "object" && json !== null ? Object.keys(json) : [];
  if (keys.some((key) => RESPONSE_TYPES.has(key)) || keys.every((key) => key === "node_name" || key === "time"))
    return fromJson(GetFlowsResponseSchema, json, options);
  const flow = fromJson(FlowSchema, json, options);
  return create(GetFlowsResponseSchema, {
    responseTypes: { case: "flow", value: flow },
    nodeName: flow.nodeName,
    ...(flow.time ? { time: flow.time } : {}),
  });
}
