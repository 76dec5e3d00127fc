import { finalizeNamespace } from "../controllers/namespaces.ts";
import { ApiError, badRequest, notFound } from "../errors.ts";
import { asArray, asObject, at, clone, type KubeObject, objectKey, timestamp } from "../object.ts";
import type { PatchType } from "../operations/patch.ts";
import { bindPod, evictPod } from "../operations/pods.ts";
import { getScale, patchScale, setScale } from "../operations/scale.ts";
import type { Resource } from "../resources/resource.ts";
import { readBody } from "./body.ts";
import { type Exchange, writeOptions } from "./exchange.ts";
import { deleteOptions, methodNotAllowed } from "./objects.ts";
import { sendJson, sendObject } from "./respond.ts";
import type { Route } from "./route.ts";

export type NamedRoute = Route & { readonly name: string };

const SUCCESS = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };

/** Answers requests for the subresources that are neither status nor streams. */
export async function serveSubresource(exchange: Exchange, resource: Resource, route: NamedRoute): Promise<void> {
  const { core, method } = exchange;
  const target = { namespace: route.namespace, name: route.name };
  switch (route.subresource) {
    case "scale":
      return serveScale(exchange, resource, route);
    case "binding":
      requirePost(method);
      bindPod(core, resource, target, await readBody(exchange.request));
      return sendJson(exchange, 201, SUCCESS);
    case "eviction": {
      requirePost(method);
      const body = asObject(await readBody(exchange.request));
      const grace = at(body, "deleteOptions", "gracePeriodSeconds");
      evictPod(core, resource, target, {
        ...(await deleteOptions(exchange)),
        ...(typeof grace === "number" ? { gracePeriodSeconds: grace } : {}),
      });
      return sendJson(exchange, 201, SUCCESS);
    }
    case "token":
      requirePost(method);
      return sendJson(exchange, 201, requestToken(exchange, route, asObject(await readBody(exchange.request))));
    case "finalize":
      if (method !== "PUT") throw methodNotAllowed(method);
      return sendObject(exchange, 200, resource, finalizeNamespace(core, route.name, asObject(await readBody(exchange.request))));
    default:
      throw new ApiError(404, "NotFound", "the server could not find the requested resource");
  }
}

function requirePost(method: string): void {
  if (method !== "POST") throw methodNotAllowed(method);
}

async function serveScale(exchange: Exchange, resource: Resource, route: NamedRoute): Promise<void> {
  const { core, method, request } = exchange;
  if (method === "GET") return sendJson(exchange, 200, getScale(core, resource, targetOf(route)));
  const body = await readBody(request);
  if (method === "PUT") return sendJson(exchange, 200, setScale(core, resource, targetOf(route), body, writeOptions(exchange)));
  if (method !== "PATCH") throw methodNotAllowed(method);
  const type: PatchType = request.headers["content-type"]?.includes("json-patch") ? "json" : "merge";
  return sendJson(exchange, 200, patchScale(core, resource, targetOf(route), type, body, writeOptions(exchange)));
}

const targetOf = ({ namespace, name }: NamedRoute) => ({ namespace, name });

/** `serviceaccounts/token`: a token for the account, bound to a pod when asked, for at most a year. */
function requestToken(exchange: Exchange, route: NamedRoute, body: object): object {
  const { core, tokens } = exchange;
  const account = core.store.get("serviceaccounts", objectKey(route.namespace, route.name));
  if (!account) throw notFound({ group: "", resource: "serviceaccounts" }, route.name);
  const seconds = Number(at(body, "spec", "expirationSeconds") ?? 3600);
  if (!(seconds >= 600))
    throw badRequest(`spec.expirationSeconds: Invalid value: ${seconds}: may not specify a duration less than 10 minutes`);
  const audiences = asArray(at(body, "spec", "audiences")).map(String);
  const expires = new Date(core.now().getTime() + Math.min(seconds, 86_400 * 365) * 1000);
  const pod = boundPod(exchange, route, body);
  const { namespace = "", uid } = account.metadata;
  const claims = { namespace, serviceAccount: route.name, uid, expires: Math.floor(expires.getTime() / 1000), ...(pod ? { pod } : {}) };
  const token = tokens.issue(claims, audiences.length > 0 ? audiences : ["https://kubernetes.default.svc.cluster.local"]);
  return {
    kind: "TokenRequest",
    apiVersion: "authentication.k8s.io/v1",
    metadata: { name: route.name, namespace, creationTimestamp: timestamp(core.now()) },
    spec: { ...clone(asObject(at(body, "spec"))), audiences, expirationSeconds: seconds },
    status: { token, expirationTimestamp: timestamp(expires) },
  };
}

function boundPod(exchange: Exchange, route: NamedRoute, body: object): { name: string; uid: string } | undefined {
  const reference = asObject(at(body, "spec", "boundObjectRef"));
  if (reference.kind !== "Pod") return undefined;
  const name = String(reference.name ?? "");
  const pod: KubeObject | undefined = exchange.core.store.get("pods", objectKey(route.namespace, name));
  if (!pod) throw notFound({ group: "", resource: "pods" }, name);
  return { name, uid: pod.metadata.uid };
}
