import { pipeline } from "node:stream/promises";
import { badRequest } from "../errors.ts";
import { type Exchange, isTrue, numberFrom } from "../http/exchange.ts";
import type { Page } from "../http/handler.ts";
import { parseRoute } from "../http/route.ts";
import type { LogRequest, PodStreams } from "./pod-streams.ts";
import { chooseContainer, findPod, noStreams, requireNode } from "./target.ts";

/** Answers `GET pods/NAME/log`; exec, attach and port-forward without an upgrade are told what they lack. */
export function podStreamPage(streams: () => PodStreams | undefined): Page {
  return async (exchange) => {
    const route = parseRoute(exchange.path);
    if (route?.group !== "" || route.resource !== "pods" || route.name === undefined) return false;
    if (route.subresource === "log" && exchange.method === "GET") {
      await serveLog(exchange, streams(), route.namespace, route.name);
      return true;
    }
    if (["exec", "attach", "portforward"].includes(route.subresource ?? "")) throw badRequest("Upgrade request required");
    return false;
  };
}

async function serveLog(exchange: Exchange, streams: PodStreams | undefined, namespace: string | undefined, name: string): Promise<void> {
  const request = logRequest(exchange, namespace, name);
  if (!streams) throw noStreams();
  const log = await streams.logs(request);
  exchange.response.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
  exchange.response.flushHeaders();
  // The end of either side is the end of the answer; there is nobody to tell about a broken one.
  await pipeline(log, exchange.response, { signal: exchange.signal }).catch(() => exchange.response.destroy());
}

function logRequest(exchange: Exchange, namespace: string | undefined, name: string): LogRequest {
  const { query, core } = exchange;
  const pod = findPod(core, namespace, name);
  const container = chooseContainer(pod, query.get("container"));
  requireNode(pod);
  const numbers = {
    tailLines: numberFrom(query, "tailLines"),
    sinceSeconds: numberFrom(query, "sinceSeconds"),
    limitBytes: numberFrom(query, "limitBytes"),
  };
  const sinceTime = query.get("sinceTime");
  if (numbers.sinceSeconds !== undefined && sinceTime) throw badRequest("at most one of sinceTime or sinceSeconds may be specified");
  return {
    pod,
    container,
    follow: isTrue(query.get("follow")),
    previous: isTrue(query.get("previous")),
    timestamps: isTrue(query.get("timestamps")),
    ...(sinceTime ? { sinceTime } : {}),
    ...Object.fromEntries(Object.entries(numbers).filter(([, value]) => value !== undefined)),
  };
}
