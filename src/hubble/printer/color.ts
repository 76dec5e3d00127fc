import { AuthType, Verdict } from "#api/gen/flow/flow_pb.ts";

/** Colours of the parts of a line. */
export interface Colorer {
  host(text: string): string;
  port(text: string): string;
  identity(text: string): string;
  verdict(text: string, verdict: Verdict): string;
  auth(text: string, type: AuthType): string;
  explanation(text: string): string;
}

const CODE = { red: 31, green: 32, yellow: 33, magenta: 35, cyan: 36, grey: 90 } as const;

function paint(color: keyof typeof CODE): (text: string) => string {
  return (text) => `\u001b[${CODE[color]}m${text}\u001b[0m`;
}

const plain = (text: string): string => text;

/** No colours. */
export const noColor: Colorer = { host: plain, port: plain, identity: plain, verdict: plain, auth: plain, explanation: plain };

const FORWARDED: ReadonlySet<Verdict> = new Set([Verdict.FORWARDED, Verdict.REDIRECTED]);
const DROPPED: ReadonlySet<Verdict> = new Set([Verdict.DROPPED, Verdict.ERROR]);
const NOTED: ReadonlySet<Verdict> = new Set([Verdict.AUDIT, Verdict.TRACED, Verdict.TRANSLATED]);

/** Upstream's colours. */
export const terminalColor: Colorer = {
  host: paint("cyan"),
  port: paint("yellow"),
  identity: paint("magenta"),
  verdict(text, verdict) {
    if (FORWARDED.has(verdict)) return paint("green")(text);
    if (DROPPED.has(verdict)) return paint("red")(text);
    return NOTED.has(verdict) ? paint("yellow")(text) : text;
  },
  auth: (text, type) => paint(type === AuthType.TEST_ALWAYS_FAIL ? "red" : "green")(text),
  explanation: paint("grey"),
};
