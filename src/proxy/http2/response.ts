import type { ResponseHead } from "../http/response-head.ts";
import type { FieldList } from "./hpack-decoder.ts";

/** What a header block of a server means, as far as records and streams need to know: it is passed on as it is. */
export interface StreamAnswer {
  /** NaN: it has none, so it comes behind a body. */
  readonly code: number;
  /** As records want it. */
  readonly answer: Pick<ResponseHead, "code" | "headers">;
}

/** Reads a block. */
export function readAnswer({ fields }: FieldList): StreamAnswer {
  const status = fields.find(({ name }) => name === ":status")?.value;
  const code = status !== undefined && /^[1-9][0-9]{2}$/.test(status) ? Number(status) : Number.NaN;
  return { code, answer: { code, headers: fields.filter(({ name }) => !name.startsWith(":")) } };
}
