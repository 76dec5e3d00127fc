import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { createWorld } from "#policy/world/world.ts";
import { silentLogger } from "#runtime/logger.ts";
import { startUi } from "./server.ts";

describe("startUi", () => {
  const directory = mkdtempSync(join(tmpdir(), "ui-"));
  let ui: Awaited<ReturnType<typeof startUi>>;
  const get = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${ui.port}${path}`, init);

  before(async () => {
    for (const name of ["index.html", "main.js", "style.css", "icon.svg"]) writeFileSync(join(directory, name), `<html>${name}`);
    const config = { host: "127.0.0.1", port: 0, relay: "unix:///nowhere.sock", directory: pathToFileURL(`${directory}/`) };
    ui = await startUi({ log: silentLogger }, config);
  });
  after(async () => {
    await ui[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  it("serves the page and its parts with safe headers", async () => {
    const page = await get("/?namespace=demo");
    assert.equal(await page.text(), "<html>index.html");
    assert.match(page.headers.get("content-security-policy") ?? "", /default-src 'self'/);
    assert.equal((await get("/main.js")).headers.get("content-type"), "text/javascript; charset=utf-8");
  });
  it("knows nothing else and cannot be written to", async () => {
    assert.equal((await get("/../package.json")).status, 404);
    assert.equal((await get("/", { method: "POST" })).status, 405);
  });
  it("ends the stream when there is no relay, so that the page tries again", async () => {
    assert.match(await (await get("/api/flows")).text(), /^: flows\n\nevent: failure\ndata: ".*"\n\n$/);
  });
  it("asks a backend when it has one, and says that there is none", async () => {
    const front = (backend: string) =>
      startUi({ log: silentLogger }, { host: "127.0.0.1", port: 0, relay: "", backend, directory: pathToFileURL(`${directory}/`) });
    await using page = await front(`127.0.0.1:${ui.port}`);
    const passed = await fetch(`http://127.0.0.1:${page.port}/api/flows`);
    assert.equal(passed.headers.get("content-type"), "text/event-stream");
    assert.match(await passed.text(), /^: flows\n\nevent: failure/);
    assert.equal(await (await fetch(`http://127.0.0.1:${page.port}/`)).text(), "<html>index.html");
    await using alone = await front("127.0.0.1:1");
    assert.equal((await fetch(`http://127.0.0.1:${alone.port}/api/flows`)).status, 502);
  });
  it("says of policies that it has no cluster, and why the cluster does not answer", async () => {
    assert.deepEqual([(await get("/api/policies")).status, (await get("/api/policies", { method: "POST" })).status], [503, 405]);
    const config = { host: "127.0.0.1", port: 0, relay: "", directory: pathToFileURL(`${directory}/`) };
    await using page = await startUi({ log: silentLogger, snapshot: () => Promise.reject(new Error("pods is forbidden")) }, config);
    assert.equal(await (await fetch(`http://127.0.0.1:${page.port}/api/policies`)).text(), "pods is forbidden\n");
  });
  it("takes policies to look at, passed on or not, but nothing large and nothing that another site's page may send", async () => {
    const snapshot = async () => ({ policies: [], subjects: [], world: createWorld([]), usage: new Map() });
    const config = { host: "127.0.0.1", port: 0, relay: "", directory: pathToFileURL(`${directory}/`) };
    await using back = await startUi({ log: silentLogger, snapshot }, config);
    await using front = await startUi({ log: silentLogger }, { ...config, backend: `127.0.0.1:${back.port}` });
    const post = (body: string, type = "application/yaml") =>
      fetch(`http://127.0.0.1:${front.port}/api/lint`, { method: "POST", headers: { "content-type": type }, body });
    const review = (await (await post("kind: Secret")).json()) as { problems: { message: string }[] };
    assert.match(review.problems[0]?.message ?? "", /^Secret is no network policy/);
    assert.equal((await post("kind: Secret", "text/plain")).status, 415);
    assert.equal((await post("#".repeat(257 * 1024))).status, 413);
  });
  it("refuses a time that is none", async () => {
    const refused = await get("/api/flows?since=yesterday");
    assert.deepEqual([refused.status, await refused.text()], [400, "since and until are milliseconds since 1970\n"]);
  });
});
