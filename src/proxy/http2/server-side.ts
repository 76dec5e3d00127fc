import type { ServerConnection } from "../server-connection.ts";
import { FLAG, FRAME, type Frame, PREFACE } from "./frame.ts";
import { encodeTableSize } from "./hpack-encoder.ts";
import { Outbox } from "./outbox.ts";
import type { Relay } from "./relay.ts";
import { type Setting, settingsForServer, writeSettings } from "./settings.ts";

/** Our header blocks teach the server nothing, so its table needs no room; that is said in the first. */
const NO_TABLE = encodeTableSize(0);

/** SETTINGS that the server was sent. */
interface SentSettings {
  readonly settings: readonly Setting[];
  /** The client has sent them itself, and waits for the acknowledgement. */
  readonly isClients: boolean;
}

/** One connection to the server: what goes to it. */
export class ServerSide {
  /** It takes no more at the moment. */
  full = false;
  readonly #relay: Relay;
  readonly #connection: ServerConnection;
  readonly #out: Outbox;
  /** Settings that it has not acknowledged yet, oldest first. */
  readonly #unacknowledged: SentSettings[] = [];
  #isGreeted = false;
  #hasTable = true;
  /** Bytes of bodies that were passed to it. */
  #bodyBytes = 0;
  /** Bytes of bodies that nobody wants any more. */
  #unwanted = 0;

  constructor(relay: Relay, connection: ServerConnection) {
    this.#relay = relay;
    this.#connection = connection;
    this.#out = new Outbox((bytes) => {
      if (!connection.write(bytes)) this.full = true;
    });
    relay.window.begin();
  }

  get connected(): boolean {
    return this.#connection.connected;
  }

  /** Begins HTTP/2 with what the client has set so far. */
  greet(): void {
    if (this.#isGreeted) return;
    this.#isGreeted = true;
    const settings = this.#relay.settingsForServer;
    this.#out.pass(PREFACE, 0, PREFACE.length);
    this.#out.frame(FRAME.settings, 0, 0, writeSettings(settings));
    this.#unacknowledged.push({ settings, isClients: false });
    this.tellWindow();
  }

  /** False: it will be told when it is greeted. */
  tellSettings(settings: readonly Setting[]): boolean {
    if (!this.#isGreeted) return false;
    this.#out.frame(FRAME.settings, 0, 0, writeSettings(settingsForServer(settings)));
    this.#unacknowledged.push({ settings, isClients: true });
    return true;
  }

  /** Tells what the client has granted. */
  tellWindow(): void {
    const more = this.#isGreeted ? this.#relay.window.tell() : 0;
    if (more > 0) this.#out.windowUpdate(0, more);
  }

  headers(id: number, block: Buffer, endStream: boolean): void {
    this.#out.headers(id, this.#hasTable ? Buffer.concat([NO_TABLE, block]) : block, endStream);
    this.#hasTable = false;
  }

  pass({ input, start, end }: Frame): void {
    this.#out.pass(input, start, end);
  }

  passBody(frame: Frame): void {
    this.#bodyBytes += frame.end - frame.body;
    this.pass(frame);
  }

  /** Takes back so many bytes that it has sent for nobody. */
  giveBack(bytes: number): void {
    this.#unwanted += bytes;
  }

  /** The settings that it acknowledges now, and whether the client waits for that; undefined when there are none. */
  acknowledged(): SentSettings | undefined {
    return this.#unacknowledged.shift();
  }

  /** It never was there: the client gets from us what it has waited for from it. */
  replace(): void {
    const { toClient } = this.#relay;
    if (this.#bodyBytes > 0) toClient.windowUpdate(0, this.#bodyBytes);
    for (const { settings, isClients } of this.#unacknowledged) {
      if (!isClients) continue;
      toClient.frame(FRAME.settings, FLAG.ack, 0);
      this.#relay.applySettings(settings);
    }
  }

  reset(id: number, code: number): void {
    this.#out.reset(id, code);
  }

  flush(): void {
    if (this.#unwanted > 0) this.#out.windowUpdate(0, this.#unwanted);
    this.#unwanted = 0;
    this.#out.flush();
  }

  pause(): void {
    this.#connection.pause();
  }

  resume(): void {
    this.#connection.resume();
  }

  /** Says goodbye for a reason, and closes once everything is sent. */
  close(code: number, reason: string): void {
    if (this.#isGreeted) this.#out.goaway(0, code, reason);
    this.flush();
    this.#connection.close();
  }

  destroy(reset: boolean): void {
    this.#connection.destroy(reset);
  }
}
