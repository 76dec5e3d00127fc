import { ApiError, badRequest } from "../errors.ts";
import { asObject, at } from "../object.ts";
import type { DeleteOptions } from "../operations/core.ts";
import { createObject } from "../operations/create.ts";
import { deleteObject } from "../operations/delete.ts";
import { listObjects } from "../operations/list.ts";
import { type PatchType, patchObject } from "../operations/patch.ts";
import { getObject } from "../operations/read.ts";
import { updateObject } from "../operations/update.ts";
import type { Resource } from "../resources/resource.ts";
import { readBody, unsupported } from "./body.ts";
import { type Exchange, isTrue, numberFrom, writeOptions } from "./exchange.ts";
import { sendJson, sendList, sendObject } from "./respond.ts";
import type { Route } from "./route.ts";
import { serveWatch } from "./watch.ts";

/** Answers requests for a collection: list, watch, create, deletecollection. */
export async function serveCollection(exchange: Exchange, resource: Resource, route: Route): Promise<void> {
  switch (exchange.method) {
    case "GET":
      return route.watch || isTrue(exchange.query.get("watch")) ? serveWatch(exchange, resource, route) : list(exchange, resource, route);
    case "POST": {
      const body = await readBody(exchange.request);
      const object = createObject(exchange.core, resource, route.namespace, body, writeOptions(exchange));
      return sendObject(exchange, 201, resource, object);
    }
    case "DELETE":
      return deleteCollection(exchange, resource, route);
    default:
      throw methodNotAllowed(exchange.method);
  }
}

/** Answers requests for one object or its status. */
export async function serveObject(exchange: Exchange, resource: Resource, route: Route & { readonly name: string }): Promise<void> {
  const { core, method } = exchange;
  const options = writeOptions(exchange, route.subresource);
  const { namespace, name } = route;
  switch (method) {
    case "GET":
      if (route.watch || isTrue(exchange.query.get("watch"))) return serveWatch(exchange, resource, route);
      return sendObject(exchange, 200, resource, getObject(core, resource, namespace, name));
    case "PUT": {
      const body = await readBody(exchange.request);
      return sendObject(exchange, 200, resource, updateObject(core, resource, namespace, name, body, options));
    }
    case "PATCH": {
      const { type, force } = patchType(exchange);
      const patch = await readBody(exchange.request);
      const { object, created } = patchObject(core, resource, { namespace, name }, type, patch, { ...options, force });
      return sendObject(exchange, created ? 201 : 200, resource, object);
    }
    case "DELETE": {
      if (route.subresource) throw methodNotAllowed(method);
      const settings = await deleteOptions(exchange);
      const { object, gone } = deleteObject(core, resource, namespace, name, settings);
      return gone && resource.storage !== "pods"
        ? sendJson(exchange, 200, deletedStatus(resource, name, object.metadata.uid))
        : sendObject(exchange, 200, resource, object);
    }
    default:
      throw methodNotAllowed(method);
  }
}

export const methodNotAllowed = (method: string): ApiError =>
  new ApiError(405, "MethodNotAllowed", `the server does not allow this method on the requested resource (${method})`);

const deletedStatus = (resource: Resource, name: string, uid: string) => ({
  kind: "Status",
  apiVersion: "v1",
  metadata: {},
  status: "Success",
  details: { name, ...(resource.group ? { group: resource.group } : {}), kind: resource.resource, uid },
});

function list(exchange: Exchange, resource: Resource, route: Route): void {
  const { query } = exchange;
  const listed = listObjects(exchange.core, resource, {
    namespace: route.namespace,
    labelSelector: query.get("labelSelector") ?? undefined,
    fieldSelector: query.get("fieldSelector") ?? undefined,
    limit: numberFrom(query, "limit"),
    continue: query.get("continue") ?? undefined,
    resourceVersion: query.get("resourceVersion") ?? undefined,
    resourceVersionMatch: query.get("resourceVersionMatch") ?? undefined,
  });
  const { items, resourceVersion, remaining } = listed;
  const more = listed.continue ? { continue: listed.continue, ...(remaining === undefined ? {} : { remainingItemCount: remaining }) } : {};
  sendList(exchange, resource, items, { resourceVersion, ...more });
}

const PATCH_TYPES: Readonly<Record<string, PatchType>> = {
  "application/json-patch+json": "json",
  "application/merge-patch+json": "merge",
  "application/strategic-merge-patch+json": "strategic",
  "application/apply-patch+yaml": "apply",
};

function patchType(exchange: Exchange): { type: PatchType; force: boolean } {
  const media = (exchange.request.headers["content-type"] ?? "").split(";")[0]?.trim() ?? "";
  const type = PATCH_TYPES[media];
  if (!type) throw unsupported(media);
  const force = exchange.query.get("force");
  if (force !== null && type !== "apply") throw badRequest("force may only be given with application/apply-patch+yaml");
  if (type === "apply" && !exchange.query.get("fieldManager")) throw badRequest("fieldManager is required for apply patch");
  return { type, force: isTrue(force) };
}

/** Deletion options from the body and the query; the body wins. */
export async function deleteOptions(exchange: Exchange): Promise<DeleteOptions> {
  const body = asObject(await readBody(exchange.request));
  const grace = typeof body.gracePeriodSeconds === "number" ? body.gracePeriodSeconds : numberFrom(exchange.query, "gracePeriodSeconds");
  const policy =
    body.propagationPolicy ?? exchange.query.get("propagationPolicy") ?? (body.orphanDependents === true ? "Orphan" : undefined);
  if (policy !== undefined && !["Background", "Foreground", "Orphan"].includes(String(policy))) {
    throw badRequest(`invalid propagationPolicy ${JSON.stringify(policy)}: must be Background, Foreground or Orphan`);
  }
  const uid = at(body, "preconditions", "uid");
  const resourceVersion = at(body, "preconditions", "resourceVersion");
  const dryRun = Array.isArray(body.dryRun) && body.dryRun.includes("All");
  return {
    ...writeOptions(exchange),
    ...(dryRun ? { dryRun } : {}),
    ...(grace === undefined ? {} : { gracePeriodSeconds: grace }),
    ...(policy === undefined ? {} : { propagationPolicy: policy as "Background" }),
    ...(typeof uid === "string" ? { uid } : {}),
    ...(typeof resourceVersion === "string" ? { resourceVersion } : {}),
  };
}

async function deleteCollection(exchange: Exchange, resource: Resource, route: Route): Promise<void> {
  const options = await deleteOptions(exchange);
  const { query, core } = exchange;
  const { items, resourceVersion } = listObjects(core, resource, {
    namespace: route.namespace,
    labelSelector: query.get("labelSelector") ?? undefined,
    fieldSelector: query.get("fieldSelector") ?? undefined,
  });
  for (const { metadata } of items) deleteObject(core, resource, metadata.namespace, metadata.name, options);
  sendList(exchange, resource, items, { resourceVersion });
}
