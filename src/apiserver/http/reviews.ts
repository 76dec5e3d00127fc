import { asObject, at, type JsonObject } from "../object.ts";
import type { Review } from "../resources/reviews.ts";
import { userOfToken } from "./auth.ts";
import { readBody } from "./body.ts";
import type { Exchange } from "./exchange.ts";
import { sendJson } from "./respond.ts";

/** Answers a review. Everybody who is authenticated may do everything here. */
export async function serveReview(exchange: Exchange, review: Review): Promise<void> {
  const body = asObject(await readBody(exchange.request));
  const { group, version, kind } = review;
  const answer = { ...body, kind, apiVersion: `${group}/${version}`, metadata: { ...asObject(body.metadata), creationTimestamp: null } };
  sendJson(exchange, 201, { ...answer, status: statusOf(exchange, kind, body) });
}

function statusOf(exchange: Exchange, kind: string, body: JsonObject): JsonObject {
  const { name = "", groups = [], uid } = exchange.user ?? {};
  switch (kind) {
    case "TokenReview": {
      const user = userOfToken(String(at(body, "spec", "token") ?? ""), exchange.tokens, exchange.core.store);
      return user
        ? { authenticated: true, user: { username: user.name, groups: user.groups, uid: user.uid } }
        : { authenticated: false, error: "the token is not valid" };
    }
    case "SelfSubjectReview":
      return { userInfo: { username: name, groups, ...(uid ? { uid } : {}) } };
    case "SelfSubjectRulesReview":
      return {
        incomplete: false,
        resourceRules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }],
        nonResourceRules: [{ verbs: ["*"], nonResourceURLs: ["*"] }],
      };
    default:
      return { allowed: true, reason: "every authenticated user may do everything in this cluster" };
  }
}
