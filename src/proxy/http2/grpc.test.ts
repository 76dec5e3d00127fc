import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Client, credentials, Metadata, Server, ServerCredentials, type ServiceError, status } from "@grpc/grpc-js";
import { openDoor } from "../testing/door.ts";
import { anyPeer, type Loopback, policyOf, startLoopback } from "../testing/loopback.ts";

const POLICY = policyOf([
  anyPeer({ method: "POST", path: "/shop.Cart/Add" }, { method: "POST", path: "/shop.Cart/Watch", headers: ["x-role: admin"] }),
]);
const bytes = (value: Buffer) => value;
const route = (path: string) => ({
  ...{ path, requestStream: false, requestSerialize: bytes, requestDeserialize: bytes },
  ...{ responseSerialize: bytes, responseDeserialize: bytes },
});

/** The real client and server of gRPC, with the proxy between them. */
describe("gRPC", () => {
  const server = new Server();
  let proxy: Loopback;
  let door: Awaited<ReturnType<typeof openDoor>>;
  let client: Client;

  before(async () => {
    server.addService(
      {
        Add: { ...route("/shop.Cart/Add"), responseStream: false },
        Clear: { ...route("/shop.Cart/Clear"), responseStream: false },
        Watch: { ...route("/shop.Cart/Watch"), responseStream: true },
      },
      {
        Add: (call: { request: Buffer }, reply: (error: null, value: Buffer) => void) => reply(null, Buffer.from(`added ${call.request}`)),
        Clear: (_: unknown, reply: (error: null, value: Buffer) => void) => reply(null, Buffer.from("cleared")),
        Watch: (call: { write(value: Buffer): void; end(): void }) => {
          for (const item of ["one", "two", "three"]) call.write(Buffer.from(item));
          call.end();
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

  it("serves many calls at once on one connection", async () => {
    const paths = Array.from({ length: 200 }, (_, i) => (i % 3 === 0 ? "/shop.Cart/Clear" : "/shop.Cart/Add"));
    const codes = await Promise.all(paths.map(async (path) => (await call(path)).error?.code ?? status.OK));
    assert.deepEqual(
      codes,
      paths.map((path) => (path.endsWith("Add") ? status.OK : status.PERMISSION_DENIED)),
    );
  });
});
