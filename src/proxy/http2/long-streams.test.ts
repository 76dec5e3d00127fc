import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, it } from "node:test";
import {
  Client,
  type ClientDuplexStream,
  credentials,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type StatusObject,
  status,
} from "@grpc/grpc-js";
import { openDoor } from "../testing/door.ts";
import { anyPeer, type Loopback, policyOf, startLoopback } from "../testing/loopback.ts";

const bytes = (value: Buffer) => value;
const CHAT = {
  ...{ path: "/shop.Cart/Chat", requestStream: true, responseStream: true, requestSerialize: bytes, requestDeserialize: bytes },
  ...{ responseSerialize: bytes, responseDeserialize: bytes },
};
type Chat = ClientDuplexStream<Buffer, Buffer>;

/** A call that goes on while the world changes. */
describe("long streams of gRPC", () => {
  let server: Server;
  /** The end of the proxy's connection to it. */
  let toServer: Socket | undefined;
  let proxy: Loopback;
  let door: Awaited<ReturnType<typeof openDoor>>;
  let client: Client;

  beforeEach(async () => {
    server = new Server();
    server.addService(
      { Chat: CHAT },
      {
        Chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
          call.on("error", () => undefined);
          call.on("data", (line: Buffer) => call.write(Buffer.from(`re: ${line}`)));
          call.on("end", () => call.end());
        },
      },
    );
    const serverPort = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port))),
    );
    const policy = policyOf([anyPeer({ method: "POST", path: CHAT.path })]);
    const serve = (socket: Socket) => {
      toServer = socket;
      const inner = connect(serverPort, "127.0.0.1");
      for (const one of [inner, socket]) one.on("error", () => undefined).on("close", () => (one === inner ? socket : inner).destroy());
      socket.pipe(inner).pipe(socket);
    };
    proxy = await startLoopback({ policy, serve, timeouts: { last: 20 } });
    door = await openDoor(proxy);
    client = new Client(`127.0.0.1:${door.port}`, credentials.createInsecure());
  });
  afterEach(async () => {
    client.close();
    server.forceShutdown();
    await door[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  });

  const begin = (): { chat: Chat; ended: Promise<Pick<StatusObject, "code" | "details">> } => {
    const chat: Chat = client.makeBidiStreamRequest(CHAT.path, bytes, bytes);
    chat.on("error", () => undefined);
    return { chat, ended: new Promise((resolve) => chat.on("status", ({ code, details }: StatusObject) => resolve({ code, details }))) };
  };
  const say = async (chat: Chat, line: string) => {
    chat.write(Buffer.from(line));
    assert.equal(String(await once(chat, "data")), `re: ${line}`);
  };

  it("a policy that denies the call counts for the next one", async () => {
    const { chat, ended } = begin();
    await say(chat, "before");
    proxy.setPolicy(policyOf([anyPeer({ path: "/nothing" })], 2));
    await say(chat, "after");
    assert.equal((await begin().ended).code, status.PERMISSION_DENIED);
    chat.end();
    assert.equal((await ended).code, status.OK);
  });

  it("a policy without rules for the port ends it, and the client is told that it may ask again", async () => {
    const { chat, ended } = begin();
    await say(chat, "before");
    proxy.setPolicy({ type: "policy", revision: 2, endpoints: [] });
    // In our words, or in the client's own where it sees the end of the connection first.
    assert.equal((await ended).code, status.UNAVAILABLE);
  });

  it("a proxy that stops lets it end by itself, and takes no other meanwhile", async () => {
    const { chat, ended } = begin();
    await say(chat, "before");
    const drained = proxy.drain(60_000);
    await say(chat, "while it stops");
    const other = begin();
    assert.equal((await other.ended).code, status.UNAVAILABLE);
    await say(chat, "still");
    chat.end();
    assert.equal((await ended).code, status.OK);
    await drained;
  });

  it("a server that breaks off ends it as unavailable, as it would without a proxy", async () => {
    const { chat, ended } = begin();
    await say(chat, "before");
    toServer?.destroy();
    assert.equal((await ended).code, status.UNAVAILABLE);
  });

  it("a proxy that has waited long enough ends it as unavailable, which clients try again", async () => {
    const { chat, ended } = begin();
    await say(chat, "before");
    await proxy.drain(0);
    // In our words, or in the client's own where it sees the end of the connection first.
    assert.equal((await ended).code, status.UNAVAILABLE);
  });
});
