import { request } from "node:http";
import { createInterface } from "node:readline";
import { AGENT_SOCKET, AgentError } from "./agents.ts";
import type { MonitorOptions } from "./monitor.ts";

/** Follows the local agent's events and hands over one printed line each, until the signal aborts or the agent ends the stream. */
export async function followMonitor(options: MonitorOptions, signal: AbortSignal, print: (line: string) => void): Promise<void> {
  const [{ formatMonitorEvent }, { monitorEventFromJson }, { selectEvents }] = await Promise.all([
    import("#monitor/format.ts"),
    import("#monitor/json.ts"),
    import("#monitor/select.ts"),
  ]);
  const query = new URLSearchParams();
  if (options.types.length > 0) query.set("type", options.types.join(","));
  const response = await open(`/v1/monitor?${query}`, signal);
  const { from, to, either } = options.related;
  const id = (text: string | undefined) => (text === undefined ? undefined : Number(text));
  const wanted = selectEvents({ types: options.types, from: id(from), to: id(to), relatedTo: id(either) });
  try {
    for await (const line of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })) {
      const event = monitorEventFromJson(JSON.parse(line));
      if (event === undefined) continue;
      if (!wanted(event)) continue;
      print(options.output === "json" ? line : formatMonitorEvent(event, { verbosity: 0, numeric: options.numeric }));
    }
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
  }
}

function open(path: string, signal: AbortSignal): Promise<NodeJS.ReadableStream> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath: AGENT_SOCKET, path, signal }, (response) => {
      if (response.statusCode === 200) resolve(response);
      else reject(new AgentError(`http-${response.statusCode}`, `${path}: HTTP ${response.statusCode}`));
    });
    outgoing.on("error", (cause) => reject(new AgentError("unreachable", `the agent does not answer on ${AGENT_SOCKET}`, { cause })));
    outgoing.end();
  });
}
