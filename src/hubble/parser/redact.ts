import type { AccessMessage } from "#proxy/protocol.ts";

/** What flows must not show, by upstream's settings (`hubble-redact-*`). */
export interface RedactSettings {
  readonly enabled: boolean;
  readonly urlQuery: boolean;
  readonly userInfo: boolean;
  /** Names of headers, any case. With `allow` all others are hidden, with `deny` only these, with neither all of them. */
  readonly allowHeaders: readonly string[];
  readonly denyHeaders: readonly string[];
}

export type Redact = (access: AccessMessage) => AccessMessage;

/** What stands in a flow for a text that is hidden. */
export const REDACTED = "HUBBLE_REDACTED";

/** The rule for access records; a record that needs no change is returned as it is. Throws when both header lists are given. */
export function createRedact(settings: RedactSettings): Redact {
  if (!settings.enabled) return (access) => access;
  const [allowed, denied] = [lowerCase(settings.allowHeaders), lowerCase(settings.denyHeaders)];
  if (allowed.size > 0 && denied.size > 0) {
    throw new Error("hubble-redact-http-headers-allow and hubble-redact-http-headers-deny cannot be used together");
  }
  const isHidden = (name: string) => (denied.size > 0 ? denied.has(name) : !allowed.has(name));
  const url = (text: string) => redactUrl(text, settings);
  return (access) => ({
    ...access,
    http: {
      ...access.http,
      url: url(access.http.url),
      headers: access.http.headers.map(({ key, value }) => ({ key, value: isHidden(key.toLowerCase()) ? REDACTED : value })),
    },
    ...(access.denied === undefined ? {} : { denied: redactDenial(access.denied, url) }),
  });
}

function lowerCase(names: readonly string[]): ReadonlySet<string> {
  return new Set(names.map((name) => name.toLowerCase()));
}

function redactDenial(denied: NonNullable<AccessMessage["denied"]>, url: (text: string) => string): NonNullable<AccessMessage["denied"]> {
  const nearest = denied.nearest.map((miss) => ({
    ...miss,
    mismatches: miss.mismatches.map((one) => (one.field === "path" ? { ...one, found: url(one.found) } : one)),
  }));
  return { ...denied, nearest, ...(denied.reading === undefined ? {} : { reading: url(denied.reading) }) };
}

/** The URL, or path, without its query and with its password hidden. */
function redactUrl(text: string, { urlQuery, userInfo }: RedactSettings): string {
  const plain = urlQuery ? text.replace(/[?#].*$/s, "") : text;
  return userInfo ? plain.replace(/^([a-z][a-z0-9+.-]*:\/\/[^/?#:@]*):[^/?#@]*@/i, `$1:${REDACTED}@`) : plain;
}
