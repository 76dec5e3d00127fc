import { type Fault, type Frame, fault, MAX_WINDOW } from "./frame.ts";
import { TABLE_BYTES } from "./hpack-table.ts";

/** RFC 9113 §6.5. */
export const SETTING = { tableSize: 1, enablePush: 2, maxStreams: 3, initialWindow: 4, maxFrame: 5, maxHeaderList: 6 } as const;

export type Setting = readonly [id: number, value: number];

/** Requests under way on one connection, at the most. */
export const MAX_STREAMS = 100;
const BYTES = 6;
const [MIN_FRAME, MAX_FRAME] = [16_384, 16_777_215];

/** What is said before the server's own settings are known. */
export function firstSettings(maxHeaderList: number): readonly Setting[] {
  return [
    [SETTING.maxStreams, MAX_STREAMS],
    [SETTING.maxHeaderList, maxHeaderList],
  ];
}

/** The settings of a frame, in their order; a fault when one has a value that it cannot have. */
export function readSettings({ input, body, end }: Pick<Frame, "input" | "body" | "end">): readonly Setting[] | Fault {
  const settings: Setting[] = [];
  for (let at = body; at + BYTES <= end; at += BYTES) {
    const [id, value] = [input.readUInt16BE(at), input.readUInt32BE(at + 2)];
    if (id === SETTING.initialWindow && value > MAX_WINDOW) return fault("flowControlError", "SETTINGS_INITIAL_WINDOW_SIZE too big");
    if (id === SETTING.enablePush && value > 1) return fault("protocolError", "SETTINGS_ENABLE_PUSH is neither 0 nor 1");
    if (id === SETTING.maxFrame && (value < MIN_FRAME || value > MAX_FRAME)) return fault("protocolError", "bad SETTINGS_MAX_FRAME_SIZE");
    settings.push([id, value]);
  }
  return settings;
}

/** Tells a fault from settings. */
export function isFault(read: readonly Setting[] | Fault): read is Fault {
  return "code" in read;
}

/** What the server is told of the client's settings: frames and tables are as long as ours, and nothing is pushed. */
export function settingsForServer(settings: readonly Setting[]): readonly Setting[] {
  return settings.flatMap(([id, value]): Setting[] => {
    if (id === SETTING.tableSize) return [[id, Math.min(value, TABLE_BYTES)]];
    return id === SETTING.initialWindow || id === SETTING.maxHeaderList ? [[id, value]] : [];
  });
}

/** What the client is told of the server's settings: its table is not the one that the client speaks to. */
export function settingsForClient(settings: readonly Setting[], maxHeaderList: number): readonly Setting[] {
  return settings.flatMap(([id, value]): Setting[] => {
    if (id === SETTING.maxStreams) return [[id, Math.min(value, MAX_STREAMS)]];
    if (id === SETTING.maxHeaderList) return [[id, Math.min(value, maxHeaderList)]];
    return id === SETTING.initialWindow ? [[id, value]] : [];
  });
}

/** The payload of a SETTINGS frame. */
export function writeSettings(settings: readonly Setting[]): Buffer {
  const payload = Buffer.alloc(settings.length * BYTES);
  for (const [n, [id, value]] of settings.entries()) {
    payload.writeUInt16BE(id, n * BYTES);
    payload.writeUInt32BE(value, n * BYTES + 2);
  }
  return payload;
}

/** The last value of a setting; undefined when it is not among them. */
export function lastValue(settings: readonly Setting[], wanted: number): number | undefined {
  return settings.findLast(([id]) => id === wanted)?.[1];
}

/** Nothing is pushed: what nobody has asked for could not be judged. */
export const NO_PUSH: Setting = [SETTING.enablePush, 0];
