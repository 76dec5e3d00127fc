import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import type { JsonObject } from "../object.ts";

export const ISSUER = "https://kubernetes.default.svc.cluster.local";

export interface TokenClaims {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly uid: string;
  readonly pod?: { readonly name: string; readonly uid: string };
  /** Seconds since 1970. */
  readonly expires: number;
}

export interface Tokens {
  issue(claims: TokenClaims, audiences: readonly string[]): string;
  /** The claims of a token of ours that has not expired; undefined for anything else. */
  check(token: string): TokenClaims | undefined;
}

/** How many genuine tokens are known by heart. */
const REMEMBERED = 1000;

/** JSON Web Tokens (RFC 7519) of service accounts, ES256, in the shape that Kubernetes gives them. */
export function createTokens(keyPem: string, now: () => Date): Tokens {
  const key = createPrivateKey(keyPem);
  const publicKey = createPublicKey(key);
  const genuine = new Map<string, TokenClaims>();
  const verified = (token: string): TokenClaims | undefined => {
    const [header = "", payload = "", signature = ""] = token.split(".");
    const bytes = Buffer.from(signature, "base64url");
    if (bytes.length !== 64) return undefined;
    const ours = verify("sha256", Buffer.from(`${header}.${payload}`), { key: publicKey, dsaEncoding: "ieee-p1363" }, bytes);
    return ours ? readClaims(payload) : undefined;
  };
  const encode = (value: JsonObject) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return {
    issue(claims, audiences) {
      const issued = Math.floor(now().getTime() / 1000);
      const kubernetes = {
        namespace: claims.namespace,
        serviceaccount: { name: claims.serviceAccount, uid: claims.uid },
        ...(claims.pod ? { pod: claims.pod } : {}),
      };
      const payload = encode({
        aud: audiences,
        exp: claims.expires,
        iat: issued,
        nbf: issued,
        iss: ISSUER,
        sub: `system:serviceaccount:${claims.namespace}:${claims.serviceAccount}`,
        "kubernetes.io": kubernetes,
      });
      const signed = `${encode({ alg: "ES256", typ: "JWT" })}.${payload}`;
      const signature = sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
      return `${signed}.${signature.toString("base64url")}`;
    },
    check(token) {
      const claims = genuine.get(token) ?? verified(token);
      if (!claims || claims.expires * 1000 <= now().getTime()) return undefined;
      // A signature takes longer to check than most requests take; the oldest of many is forgotten.
      if (genuine.size >= REMEMBERED) genuine.delete(genuine.keys().next().value ?? "");
      genuine.set(token, claims);
      return claims;
    },
  };
}

interface Payload {
  readonly exp: number;
  readonly "kubernetes.io": {
    readonly namespace: string;
    readonly serviceaccount: { readonly name: string; readonly uid: string };
    readonly pod?: { readonly name: string; readonly uid: string };
  };
}

function readClaims(payload: string): TokenClaims {
  const parsed = JSON.parse(Buffer.from(payload, "base64url").toString()) as Payload;
  const { namespace, serviceaccount, pod } = parsed["kubernetes.io"];
  return { namespace, serviceAccount: serviceaccount.name, uid: serviceaccount.uid, expires: parsed.exp, ...(pod ? { pod } : {}) };
}
