import { type DeniedReply, localReply } from "./local-reply.ts";

/**
 * What the kernel says where it decides by itself, in the proxy's words. An answer takes the place of the request that it is for and cannot be
 * longer: so there are shorter wordings, for short requests.
 */
export function kernelAnswers({ body, headers }: DeniedReply) {
  const more = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return {
    FORBIDDEN: wordings(403, body, false, more),
    FORBIDDEN_CLOSE: wordings(403, body, true, more),
    BAD_REQUEST: wordings(400, "bad request\r\n", true),
    TOO_LARGE: wordings(431, "head too long\r\n", true),
    VERSION_REFUSED: wordings(505, "unsupported HTTP version\r\n", true),
    MISDIRECTED: wordings(421, "not to be decided here: try again on another connection\r\n", true),
  };
}

function wordings(code: number, body: string, close: boolean, more = ""): readonly string[] {
  const connection = close ? "connection: close\r\n" : "";
  return [
    localReply(code, body, close, undefined, more),
    `HTTP/1.1 ${code} \r\ncontent-length: ${body.length}\r\n${connection}\r\n${body}`,
    `HTTP/1.1 ${code} \r\ncontent-length: 0\r\n${connection}\r\n`,
  ];
}
