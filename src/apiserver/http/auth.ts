import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { objectKey } from "../object.ts";
import type { Tokens } from "../pki/token.ts";
import type { Store } from "../store/store.ts";
import type { User } from "./exchange.ts";

/** Who sent the request: by client certificate of our authority, else by service account token; undefined for nobody. */
export function authenticate(request: IncomingMessage, tokens: Tokens, store: Store): User | undefined {
  const user = userOfCertificate(request.socket as TLSSocket);
  if (user) return user;
  const bearer = /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? "")?.[1] ?? bearerFromProtocol(request);
  return bearer ? userOfToken(bearer, tokens, store) : undefined;
}

const certified = new WeakMap<TLSSocket, User>();

/** A connection's certificate is read once, however many requests it carries. */
function userOfCertificate(socket: TLSSocket): User | undefined {
  if (!socket.authorized) return undefined;
  const known = certified.get(socket);
  if (known) return known;
  const subject = socket.getPeerCertificate().subject as unknown as { CN?: string; O?: string | string[] } | undefined;
  if (!subject?.CN) return undefined;
  const user = { name: subject.CN, groups: [...[subject.O ?? []].flat(), "system:authenticated"] };
  certified.set(socket, user);
  return user;
}

/** Browsers cannot set headers on WebSockets; Kubernetes lets them send the token as a subprotocol. */
function bearerFromProtocol(request: IncomingMessage): string | undefined {
  const encoded = /base64url\.bearer\.authorization\.k8s\.io\.([\w-]+)/.exec(request.headers["sec-websocket-protocol"] ?? "")?.[1];
  return encoded ? Buffer.from(encoded, "base64url").toString() : undefined;
}

/** The user of a valid token whose service account still exists with the same uid. */
export function userOfToken(token: string, tokens: Tokens, store: Store): User | undefined {
  let claims: ReturnType<Tokens["check"]>;
  try {
    claims = tokens.check(token);
  } catch {
    return undefined;
  }
  if (!claims) return undefined;
  const { namespace, serviceAccount, uid } = claims;
  const account = store.get("serviceaccounts", objectKey(namespace, serviceAccount));
  if (account?.metadata.uid !== uid) return undefined;
  return {
    name: `system:serviceaccount:${namespace}:${serviceAccount}`,
    groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
    uid,
  };
}
