import type { RequestHead } from "../http/request-head.ts";
import type { HeaderAction } from "../policy/http-rule.ts";
import { isFault, NO_PUSH, readSettings, settingsForServer, writeSettings } from "./settings.ts";

/** A header of `HTTP2-Settings`: the payload of a SETTINGS frame in base64url (RFC 7540 §3.2.1). */
const NAME = "http2-settings";

/**
 * What becomes of the settings that a request brings along which offers to go on in HTTP/2: as those of a frame, they are told to the server as far as
 * they may. Undefined when they are none: such a request is one that offers nothing.
 */
export function passSettings({ headers }: RequestHead): HeaderAction | undefined {
  const value = headers.find(({ name }) => name === NAME)?.value ?? "";
  const payload = Buffer.from(value, "base64url");
  if (!/^[A-Za-z0-9_-]*$/.test(value) || payload.length % 6 !== 0) return undefined;
  const settings = readSettings({ input: payload, body: 0, end: payload.length });
  if (isFault(settings)) return undefined;
  const passed = writeSettings([...settingsForServer(settings), NO_PUSH]);
  return { name: NAME, value: passed.toString("base64url"), mismatch: "REPLACE" };
}
