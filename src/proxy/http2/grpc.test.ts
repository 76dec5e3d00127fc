import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerWritableStream,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { openDoor } from "../testing/door.ts";
import { anyPeer, type Loopback, policyOf, startLoopback } from "../testing/loopback.ts";

const POLICY = policyOf([
  anyPeer(
    { method: "POST", path: "/shop.Cart/(?:Add|Upload|Chat|Hang)" },
    { method: "POST", path: "/shop.Cart/Watch", headers: ["x-role: admin"] },
  ),
]);
const bytes = (value: Buffer) => value;
const route = (path: string) => ({
  ...{ path, requestStream: false, requestSerialize: bytes, requestDeserialize: bytes },
  ...{ responseSerialize: bytes, responseDeserialize: bytes },
});

/** The real client and server of gRPC, with the proxy between them. */
describe("gRPC", () => {
  const server = new Server();
  const cancelled = Promise.withResolvers<void>();
  let proxy: Loopback;
  let door: Awaited<ReturnType<typeof openDoor>>;
  let client: Client;

  before(async () => {
    server.addService(
      {
        Add: { ...route("/shop.Cart/Add"), responseStream: false },
        Clear: { ...route("/shop.Cart/Clear"), responseStream: false },
        Watch: { ...route("/shop.Cart/Watch"), responseStream: true },
        Upload: { ...route("/shop.Cart/Upload"), requestStream: true, responseStream: false },
        Chat: { ...route("/shop.Cart/Chat"), requestStream: true, responseStream: true },
        Hang: { ...route("/shop.Cart/Hang"), responseStream: true },
      },
      {
        Add: (call: { request: Buffer }, reply: (error: null, value: Buffer) => void) => reply(null, Buffer.from(`added ${call.request}`)),
        Clear: (_: unknown, reply: (error: null, value: Buffer) => void) => reply(null, Buffer.from("cleared")),
        Watch: (call: { write(value: Buffer): void; end(): void }) => {
          for (const item of ["one", "two", "three"]) call.write(Buffer.from(item));
          call.end();
        },
        Upload: (call: ServerReadableStream<Buffer, Buffer>, reply: (error: null, value: Buffer) => void) => {
          const sum = createHash("sha1");
          call.on("data", (part: Buffer) => sum.update(part));
          call.on("end", () => reply(null, sum.digest()));
        },
        Chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
          call.on("data", (line: Buffer) => call.write(Buffer.from(`re: ${line}`)));
          call.on("end", () => call.end());
        },
        Hang: (call: ServerWritableStream<Buffer, Buffer>) => {
          call.write(Buffer.from("begun"));
          call.on("cancelled", () => cancelled.resolve());
        },
      },
    );
    const serverPort = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port))),
    );
    proxy = await startLoopback({ policy: POLICY, serve: () => undefined, serverPort });
    door = await openDoor(proxy);
    client = new Client(`127.0.0.1:${door.port}`, credentials.createInsecure());
  });

  after(async () => {
    client.close();
    server.forceShutdown();
    await door[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  });

  const call = (path: string) =>
    new Promise<{ error: ServiceError | null; value: string }>((resolve) => {
      client.makeUnaryRequest(path, bytes, bytes, Buffer.from("tea"), (error, value) => resolve({ error, value: String(value ?? "") }));
    });
  const watch = (role: string) =>
    new Promise<{ code: number; items: string[] }>((resolve) => {
      const metadata = new Metadata();
      metadata.set("x-role", role);
      const items: string[] = [];
      const stream = client.makeServerStreamRequest("/shop.Cart/Watch", bytes, bytes, Buffer.from(""), metadata);
      stream.on("data", (item: Buffer) => items.push(String(item)));
      stream.on("error", () => undefined);
      stream.on("status", ({ code }: { code: number }) => resolve({ code, items }));
    });

  it("calls what the policy allows by service and method", async () => {
    assert.deepEqual(await call("/shop.Cart/Add"), { error: null, value: "added tea" });
  });

  it("gets PERMISSION_DENIED for what it denies", async () => {
    const { error } = await call("/shop.Cart/Clear");
    assert.deepEqual([error?.code, error?.details], [status.PERMISSION_DENIED, "Access denied"]);
    const denied = proxy.records.find(({ verdict }) => verdict === "DROPPED");
    assert.match(denied?.http.url ?? "", /\/shop\.Cart\/Clear$/);
    assert.ok(denied?.denied?.nearest.some(({ mismatches }) => mismatches.some(({ field }) => field === "path")));
  });

  it("streams answers, and judges by the call's metadata", async () => {
    assert.deepEqual(await watch("admin"), { code: status.OK, items: ["one", "two", "three"] });
    assert.deepEqual(await watch("guest"), { code: status.PERMISSION_DENIED, items: [] });
  });

  it("streams a request as long as it is, at the server's pace", async () => {
    const parts = Array.from({ length: 200 }, () => randomBytes(30_000));
    const sum = createHash("sha1");
    const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
    const upload = client.makeClientStreamRequest("/shop.Cart/Upload", bytes, bytes, (_, value) => resolve(value));
    for (const part of parts) {
      sum.update(part);
      if (!upload.write(part)) await once(upload, "drain");
    }
    upload.end();
    assert.deepEqual(await promise, sum.digest());
  });

  it("streams both ways at once, each line when it is said", async () => {
    const chat = client.makeBidiStreamRequest("/shop.Cart/Chat", bytes, bytes);
    const done = once(chat, "status");
    for (const line of ["one", "two", "three"]) {
      chat.write(Buffer.from(line));
      assert.equal(String(await once(chat, "data")), `re: ${line}`);
    }
    chat.end();
    const [{ code }] = (await done) as [{ code: number }];
    assert.equal(code, status.OK);
  });

  it("tells the server of a call that its client gave up", async () => {
    const call = client.makeServerStreamRequest("/shop.Cart/Hang", bytes, bytes, Buffer.from(""));
    call.on("error", () => undefined);
    assert.equal(String(await once(call, "data")), "begun");
    call.cancel();
    await cancelled.promise;
  });

  it("serves many calls at once on one connection", async () => {
    const paths = Array.from({ length: 200 }, (_, i) => (i % 3 === 0 ? "/shop.Cart/Clear" : "/shop.Cart/Add"));
    const codes = await Promise.all(paths.map(async (path) => (await call(path)).error?.code ?? status.OK));
    assert.deepEqual(
      codes,
      paths.map((path) => (path.endsWith("Add") ? status.OK : status.PERMISSION_DENIED)),
    );
  });
});
