import type { X509Certificate } from "node:crypto";

/** `"CN=relay"`. */
export function certificateName({ subject }: X509Certificate): string {
  return JSON.stringify((subject || "without a name").replaceAll("\n", ", "));
}

/** What is wrong with a certificate's dates: `expired on 2026-11-20T10:00:00Z`; undefined when it is valid. */
export function dateProblem({ validFromDate, validToDate }: X509Certificate, now: Date): string | undefined {
  if (now > validToDate) return `expired on ${inSeconds(validToDate)}`;
  return now < validFromDate ? `is not valid before ${inSeconds(validFromDate)}` : undefined;
}

function inSeconds(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}
