import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
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
  it("refuses a time that is none", async () => {
    const refused = await get("/api/flows?since=yesterday");
    assert.deepEqual([refused.status, await refused.text()], [400, "since and until are milliseconds since 1970\n"]);
  });
});
