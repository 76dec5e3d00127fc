import type { IncomingMessage } from "node:http";
import { errorMessage } from "#runtime/errors.ts";
import { ApiError, badRequest } from "../errors.ts";
import { decodeProtobuf } from "../protobuf/decode.ts";

/** As kube-apiserver: 3 MiB. */
const LIMIT = 3 * 1024 * 1024;

/** Reads and parses a JSON, YAML or protobuf body; undefined when it is empty. Throws 400 for malformed text, 413, 415. */
export async function readBody(request: IncomingMessage): Promise<unknown> {
  const type = (request.headers["content-type"] ?? "application/json").split(";")[0]?.trim() ?? "";
  if (type.includes("cbor")) throw unsupported(type);
  const bytes = await readBytes(request);
  if (type === "application/vnd.kubernetes.protobuf") return decodeProtobuf(bytes);
  const text = bytes.toString("utf8");
  if (text.trim() === "") return undefined;
  return type.includes("yaml") ? parseYaml(text) : parseJson(text);
}

export const unsupported = (type: string): ApiError =>
  new ApiError(
    415,
    "UnsupportedMediaType",
    `the body of the request was in an unknown format (${type}) - accepted media types include: application/json, application/yaml`,
  );

async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    // The rest is read and thrown away: a client that is still sending would not see the answer.
    if (size <= LIMIT) chunks.push(chunk);
    else if (size > 16 * LIMIT) request.destroy();
  }
  if (size > LIMIT) throw new ApiError(413, "RequestEntityTooLarge", `Request entity too large: limit is ${LIMIT} bytes`);
  return Buffer.concat(chunks);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (thrown) {
    throw badRequest(`the object provided is unrecognized (must be JSON): ${errorMessage(thrown)}`);
  }
}

async function parseYaml(text: string): Promise<unknown> {
  if (/^\s*[{[]/.test(text)) return parseJson(text);
  const { parse } = await import("yaml");
  try {
    return parse(text, { maxAliasCount: 100 }) as unknown;
  } catch (thrown) {
    throw badRequest(`error parsing YAML: ${errorMessage(thrown)}`);
  }
}
