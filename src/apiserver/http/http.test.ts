import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { text } from "node:stream/consumers";
import { after, before, describe, it } from "node:test";
import { podNamed, startTestServer, type TestServer } from "../fixture.ts";
import type { JsonObject, KubeObject } from "../object.ts";
import { parseAccept } from "./accept.ts";
import { parseRoute } from "./route.ts";

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  readonly json: JsonObject;
}

let server: TestServer;
let token: string;

before(async () => {
  const review = (object: unknown) => {
    const { kind, metadata } = object as KubeObject;
    const { note, bad } = metadata.annotations ?? {};
    return {
      noun: "toy",
      problems: bad === undefined ? [] : [{ field: "spec", message: bad }],
      warnings: note === undefined ? [] : [`${kind} ${metadata.name}: ${note}`],
    };
  };
  server = await startTestServer({ listeners: [{ host: "127.0.0.1", port: 0 }], history: 50 }, { review });
  token = server.api.serviceAccountToken("default", "default");
});
after(() => server[Symbol.asyncDispose]());

async function open(method: string, path: string, body?: string | Buffer, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const [address] = server.api.addresses;
  const options: RequestOptions = {
    host: "127.0.0.1",
    port: address?.port,
    ca: server.api.ca,
    method,
    path,
    agent: false,
    headers: { authorization: `Bearer ${token}`, ...headers },
  };
  const request = httpsRequest(options);
  request.end(body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  return response;
}

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const raw = body === undefined || typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  const response = await open(method, path, raw, body === undefined ? headers : { "content-type": "application/json", ...headers });
  const content = await text(response);
  let json: JsonObject = {};
  try {
    json = JSON.parse(content) as JsonObject;
  } catch {
    // Not every answer is JSON.
  }
  return { status: response.statusCode ?? 0, headers: response.headers, text: content, json };
}

const MAPS = "/api/v1/namespaces/default/configmaps";
const configMap = (name: string, more: object = {}) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, ...more });

/** The events of a watch, one at a time. */
async function watch(
  path: string,
): Promise<{ status: number; next(): Promise<{ type: string; object: JsonObject & { metadata: JsonObject } }>; stop(): void }> {
  const response = await open("GET", path);
  const lines = (async function* () {
    let rest = "";
    for await (const chunk of response) {
      rest += String(chunk);
      for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
        yield JSON.parse(rest.slice(0, end)) as { type: string; object: JsonObject & { metadata: JsonObject } };
        rest = rest.slice(end + 1);
      }
    }
  })();
  const next = async () => {
    const { value } = await lines.next();
    assert.ok(value, "the watch ended");
    return value;
  };
  return { status: response.statusCode ?? 0, next, stop: () => response.destroy() };
}

describe("bad requests", () => {
  const cases: readonly [
    title: string,
    method: string,
    path: string,
    body: unknown,
    headers: Record<string, string>,
    status: number,
    message: RegExp,
  ][] = [
    ["a body that is no JSON", "POST", MAPS, "{nonsense", {}, 400, /must be JSON/],
    ["a body that is no object", "POST", MAPS, "[]", {}, 400, /must be a JSON object/],
    ["an empty body", "POST", MAPS, "", {}, 400, /must be a JSON object/],
    ["another kind", "POST", MAPS, { kind: "Secret" }, {}, 400, /does not fit the resource configmaps/],
    ["another version", "POST", MAPS, { apiVersion: "v2" }, {}, 400, /does not match the expected API version/],
    [
      "a wrong type",
      "POST",
      MAPS,
      configMap("a", { data: { k: 5 } }),
      {},
      400,
      /ConfigMap in version "v1" cannot be handled as a ConfigMap: data.k/,
    ],
    ["another namespace", "POST", MAPS, { metadata: { name: "a", namespace: "b" } }, {}, 400, /does not match the namespace/],
    ["no name", "POST", MAPS, { metadata: {} }, {}, 422, /name or generateName is required/],
    [
      "unknown fields, when strict",
      "POST",
      `${MAPS}?fieldValidation=Strict`,
      configMap("a", { x: 1 }),
      {},
      400,
      /strict decoding error: unknown field "x"/,
    ],
    ["a dry run of something", "POST", `${MAPS}?dryRun=Some`, configMap("a"), {}, 400, /invalid dryRun/],
    ["an unknown media type", "POST", MAPS, "x", { "content-type": "text/csv" }, 400, /must be JSON/],
    ["an unknown patch type", "PATCH", `${MAPS}/kube-root-ca.crt`, "{}", { "content-type": "application/json" }, 415, /unknown format/],
    [
      "apply without manager",
      "PATCH",
      `${MAPS}/x`,
      "{}",
      { "content-type": "application/apply-patch+yaml" },
      400,
      /fieldManager is required/,
    ],
    [
      "broken protobuf",
      "POST",
      MAPS,
      "k8s",
      { "content-type": "application/vnd.kubernetes.protobuf" },
      400,
      /cannot read the protobuf body/,
    ],
    ["broken YAML", "POST", MAPS, "a: [", { "content-type": "application/yaml" }, 400, /error parsing YAML/],
    ["an unknown resource", "GET", "/api/v1/unicorns", undefined, {}, 404, /could not find the requested resource/],
    ["an unknown group", "GET", "/apis/nowhere.io/v1/things", undefined, {}, 404, /could not find/],
    ["a missing object", "GET", `${MAPS}/nothing`, undefined, {}, 404, /configmaps "nothing" not found/],
    ["a method that makes no sense", "PUT", MAPS, configMap("a"), {}, 405, /does not allow this method/],
    ["a broken selector", "GET", `${MAPS}?labelSelector=a%3Db%3Dc`, undefined, {}, 400, /unable to parse requirement/],
    ["a field that there is not", "GET", "/api/v1/pods?fieldSelector=status.pahse%3Dx", undefined, {}, 400, /not supported: status.pahse/],
    [
      "a field of a list",
      "GET",
      "/api/v1/pods?fieldSelector=spec.containers.name%3Dx",
      undefined,
      {},
      400,
      /not supported: spec.containers.name/,
    ],
    ["a watch by such a field", "GET", `${MAPS}?watch=1&fieldSelector=spec.x%3D1`, undefined, {}, 400, /field label not supported: spec.x/],
    ["a broken continue token", "GET", `${MAPS}?continue=zzz`, undefined, {}, 400, /continue key is not valid/],
    ["a broken limit", "GET", `${MAPS}?limit=many`, undefined, {}, 400, /invalid limit/],
    ["a broken escape", "GET", "/api/v1/namespaces/%E0%A4/pods", undefined, {}, 400, /broken escape/],
    ["a version of the future", "GET", `${MAPS}?resourceVersion=999999`, undefined, {}, 504, /Too large resource version: 999999/],
    ["a watch from the future", "GET", `${MAPS}?watch=1&resourceVersion=999999`, undefined, {}, 410, /list again/],
    ["exec without upgrade", "GET", "/api/v1/namespaces/default/pods/p/exec", undefined, {}, 400, /Upgrade request required/],
  ];
  for (const [title, method, path, body, headers, status, message] of cases) {
    it(`with ${title} get ${status}`, async () => {
      const answer = await call(method, path, body, headers);
      assert.equal(answer.status, status, answer.text);
      assert.equal(answer.json.kind, "Status");
      assert.match(String(answer.json.message), message);
    });
  }
  it("that are huge get 413", async () => {
    const answer = await call("POST", MAPS, configMap("big", { data: { a: "x".repeat(4_000_000) } }));
    assert.equal(answer.status, 413);
  });
  it("without credentials get 401; health and version need none", async () => {
    assert.equal((await call("GET", "/api/v1/pods", undefined, { authorization: "" })).status, 401);
    assert.equal((await call("GET", "/api/v1/pods", undefined, { authorization: "Bearer a.b.c" })).status, 401);
    assert.equal((await call("GET", "/readyz", undefined, { authorization: "" })).text, "ok");
    assert.equal((await call("GET", "/version", undefined, { authorization: "" })).json.major, "1");
  });
});

describe("answers", () => {
  it("warn of unknown fields by default", async () => {
    const answer = await call("POST", MAPS, configMap("warned", { sepc: 1 }));
    assert.equal(answer.status, 201);
    assert.equal(answer.headers.warning, '299 - "unknown field \\"sepc\\""');
    const silent = await call("POST", `${MAPS}?fieldValidation=Ignore`, configMap("silent", { sepc: 1 }));
    assert.equal(silent.headers.warning, undefined);
  });
  it("warn of what the reviewer of objects says, on creation and change, and not on writes of a subresource", async () => {
    const noted = (name: string) => ({ ...podNamed(name), metadata: { name, namespace: "default", annotations: { note: "look here" } } });
    const path = "/api/v1/namespaces/default/pods";
    const created = await call("POST", path, noted("noted"));
    assert.equal(created.headers.warning, '299 - "Pod noted: look here"');
    const patched = await call(
      "PATCH",
      `${path}/noted`,
      { metadata: { labels: { a: "b" } } },
      { "content-type": "application/merge-patch+json" },
    );
    assert.equal(patched.headers.warning, '299 - "Pod noted: look here"');
    const status = await call(
      "PATCH",
      `${path}/noted/status`,
      { status: { phase: "Running" } },
      { "content-type": "application/merge-patch+json" },
    );
    assert.deepEqual([status.status, status.headers.warning], [200, undefined]);
    await call("DELETE", `${path}/noted?gracePeriodSeconds=0`);
  });
  it("say in one refusal all that the schema, the server and the reviewer have against an object", async () => {
    const definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    const schema = { type: "object", properties: { spec: { type: "object", properties: { size: { type: "integer", maximum: 3 } } } } };
    const version = { name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } };
    const names = { kind: "Toy", plural: "toys", singular: "toy" };
    await call("POST", definition, {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "toys.test.io" },
      spec: { group: "test.io", scope: "Cluster", names, versions: [version] },
    });
    const toy = (spec: object, annotations: object) => ({
      apiVersion: "test.io/v1",
      kind: "Toy",
      metadata: { name: "a", annotations },
      spec,
    });
    const path = "/apis/test.io/v1/toys";
    const bad = { bad: "too loud; did you mean quiet?", note: "look here" };
    const causesOf = ({ json }: Answer) => ((json.details as { causes?: { field: string }[] }).causes ?? []).map(({ field }) => field);
    const strict = "?fieldValidation=Strict";
    const several = await call("POST", `${path}${strict}`, toy({ size: 4, colour: "red" }, bad));
    assert.equal(several.status, 422);
    assert.deepEqual(causesOf(several), ["spec.colour", "spec.size", "spec"]);
    assert.equal(several.headers.warning, '299 - "Toy a: look here"');
    const mistyped = await call("POST", path, toy({ size: "big" }, bad));
    assert.deepEqual([mistyped.status, causesOf(mistyped)], [422, ["spec.size", "spec"]]);
    const unknown = await call("POST", `${path}${strict}`, toy({ colour: "red" }, bad));
    assert.deepEqual([unknown.status, causesOf(unknown)], [422, ["spec.colour", "spec"]]);
    const alone = await call("POST", `${path}${strict}`, toy({ colour: "red" }, {}));
    assert.equal(alone.status, 400, "as kube-apiserver");
    const stored = await call("POST", path, toy({ size: 1 }, bad));
    assert.equal(stored.status, 201);
    assert.match(String(stored.headers.warning), /this toy has no effect: spec: too loud/);
    const merge = { "content-type": "application/merge-patch+json" };
    const patched = await call("PATCH", `${path}/a`, { spec: { size: 5 } }, merge);
    assert.deepEqual(causesOf(patched), ["spec.size", "spec"]);
    const apply = { "content-type": "application/apply-patch+yaml" };
    const applied = await call("PATCH", `${path}/a?fieldManager=me&force=true`, toy({ size: 6 }, { bad: "no" }), apply);
    assert.deepEqual([applied.status, causesOf(applied)], [422, ["spec.size", "spec"]]);
    await call("DELETE", `${definition}/toys.test.io`);
  });
  it("are tables when that is asked for", async () => {
    const { json } = await call("GET", `${MAPS}/warned`, undefined, {
      accept: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    });
    assert.equal(json.kind, "Table");
    assert.deepEqual((json.rows as { cells: unknown[] }[])[0]?.cells.slice(0, 2), ["warned", "0"]);
  });
  it("page a list, with one state throughout, until that is forgotten", async () => {
    for (const name of ["p1", "p2", "p3"]) await call("POST", MAPS, configMap(name, { metadata: { name, labels: { page: "y" } } }));
    const query = `${MAPS}?labelSelector=page%3Dy&limit=2`;
    const first = (await call("GET", query)).json as { items: unknown[]; metadata: { continue: string; remainingItemCount: number } };
    assert.deepEqual([first.items.length, first.metadata.remainingItemCount], [2, 1]);
    await call("DELETE", `${MAPS}/p3`);
    const rest = `${query}&continue=${first.metadata.continue}`;
    const second = (await call("GET", rest)).json as { items: { metadata: { name: string } }[] };
    assert.deepEqual(
      second.items.map(({ metadata }) => metadata.name),
      ["p3"],
    );
    for (let count = 0; count < 120; count++) server.api.client.patch("configmaps", "p1", "default", { data: { count: String(count) } });
    const late = await call("GET", rest);
    assert.deepEqual([late.status, late.json.reason], [410, "Expired"]);
  });
  it("describe discovery, old and aggregated", async () => {
    const old = await call("GET", "/apis");
    assert.equal(old.json.kind, "APIGroupList");
    const aggregated = await call("GET", "/apis", undefined, {
      accept: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
    });
    assert.equal(aggregated.json.kind, "APIGroupDiscoveryList");
    assert.match(String(aggregated.headers["content-type"]), /as=APIGroupDiscoveryList/);
  });
  it("give tokens that work", async () => {
    const { json } = await call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", { spec: { expirationSeconds: 600 } });
    const fresh = (json.status as { token: string }).token;
    const review = await call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", { spec: { token: fresh } });
    assert.equal((review.json.status as { user: { username: string } }).user.username, "system:serviceaccount:default:default");
  });
});

describe("a watch", () => {
  it("begins with what exists, marks its end, and follows", async () => {
    server.api.client.create("pods", podNamed("w1"));
    const events = await watch(
      "/api/v1/namespaces/default/pods?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
    );
    assert.equal((await events.next()).object.metadata.name, "w1");
    const mark = await events.next();
    assert.equal(mark.type, "BOOKMARK");
    assert.deepEqual(mark.object.metadata.annotations, { "k8s.io/initial-events-end": "true" });
    server.api.client.delete("pods", "w1", "default");
    assert.equal((await events.next()).type, "DELETED");
    events.stop();
  });
  it("tells of objects that come into and leave its selector", async () => {
    const events = await watch(
      `${MAPS}?watch=1&labelSelector=in%3Dyes&resourceVersion=${server.api.client.list("configmaps").resourceVersion}`,
    );
    server.api.client.create("configmaps", { metadata: { name: "s", namespace: "default" } });
    server.api.client.patch("configmaps", "s", "default", { metadata: { labels: { in: "yes" } } });
    server.api.client.patch("configmaps", "s", "default", { metadata: { labels: { in: "no" } } });
    assert.deepEqual([(await events.next()).type, (await events.next()).type], ["ADDED", "DELETED"]);
    events.stop();
  });
  it("from a forgotten version is refused with 410", async () => {
    for (let count = 0; count < 120; count++) server.api.client.patch("configmaps", "s", "default", { data: { count: String(count) } });
    const answer = await call("GET", `${MAPS}?watch=1&resourceVersion=1`);
    assert.deepEqual([answer.status, answer.json.reason], [410, "Expired"]);
  });
  it("that does not read costs nothing and is told to list again", async () => {
    const response = await open("GET", `${MAPS}?watch=1`);
    response.pause();
    const data = { filler: "x".repeat(200_000) };
    for (let count = 0; count < 150; count++) {
      server.api.client.patch("configmaps", "s", "default", { data: { ...data, count: String(count) } });
      if (count % 10 === 0) await call("GET", "/readyz");
    }
    const all = await text(response);
    const last = JSON.parse(all.trimEnd().split("\n").at(-1) ?? "") as { type: string; object: { code: number } };
    assert.deepEqual([last.type, last.object.code], ["ERROR", 410]);
  });
});

describe("a second server on the same port", () => {
  it("is refused with an advice, and leaves nothing behind", async () => {
    const port = server.api.addresses[0]?.port ?? 0;
    await assert.rejects(
      startTestServer({ listeners: [{ host: "127.0.0.1", port }] }),
      /cannot listen on 127.0.0.1:\d+: it is in use; stop what uses it/,
    );
  });
});

describe("paths", () => {
  const cases: readonly [path: string, route: object | undefined][] = [
    ["/api/v1/pods", { group: "", version: "v1", resource: "pods", watch: false }],
    ["/api/v1/namespaces/a", { group: "", version: "v1", resource: "namespaces", name: "a", watch: false }],
    [
      "/api/v1/namespaces/a/finalize",
      { group: "", version: "v1", resource: "namespaces", name: "a", subresource: "finalize", watch: false },
    ],
    [
      "/api/v1/namespaces/a/pods/p/exec",
      { group: "", version: "v1", resource: "pods", namespace: "a", name: "p", subresource: "exec", watch: false },
    ],
    ["/apis/apps/v1/watch/deployments", { group: "apps", version: "v1", resource: "deployments", watch: true }],
    [
      "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
      { group: "rbac.authorization.k8s.io", version: "v1", resource: "clusterroles", name: "system:node", watch: false },
    ],
    ["/api/v1", undefined],
    ["/other", undefined],
  ];
  for (const [path, route] of cases) it(`${path} are understood`, () => assert.deepEqual(parseRoute(path), route));
});

describe("Accept", () => {
  it("takes the first form that is served", () => {
    const kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    assert.equal(parseAccept(kubectl).as, "Table");
    assert.equal(parseAccept("application/vnd.kubernetes.protobuf,application/json").as, undefined);
    assert.equal(parseAccept(undefined).as, undefined);
  });
});
