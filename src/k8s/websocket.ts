import type { IncomingMessage } from "node:http";
import { WebSocket } from "ws";
import { KubeError } from "./client.ts";
import type { ClusterConfig } from "./config.ts";

/**
 * Opens a streaming subresource. Every binary message starts with its channel number. Rejects with `KubeError` and the
 * server's message when it refuses.
 */
export function openChannels(config: ClusterConfig, path: string, protocol: string): Promise<WebSocket> {
  const url = new URL(path, config.server);
  url.protocol = config.server.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url, [protocol], {
    ca: config.ca,
    cert: config.cert,
    key: config.key,
    rejectUnauthorized: !config.insecureSkipTlsVerify,
    perMessageDeflate: false,
    headers: config.token ? { authorization: `Bearer ${config.token()}` } : {},
    ...(config.serverName ? { servername: config.serverName } : {}),
  });
  socket.binaryType = "nodebuffer";
  return new Promise((resolve, reject) => {
    socket.once("open", () => resolve(socket));
    socket.once("unexpected-response", (_request, response) => void refuse(response, path).then(reject, reject));
    socket.once("error", (cause) => reject(new KubeError(0, "Unreachable", `cannot open ${url.origin}${url.pathname}`, { cause })));
  });
}

async function refuse(response: IncomingMessage, path: string): Promise<KubeError> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString("utf8");
  let status: { reason?: string; message?: string } = {};
  try {
    status = JSON.parse(text) as typeof status;
  } catch {
    // A plain text answer is the message.
    status = { message: text };
  }
  return new KubeError(response.statusCode ?? 0, status.reason ?? "", status.message || `${path}: HTTP ${response.statusCode}`);
}
