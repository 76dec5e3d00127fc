import { type Flow, Verdict } from "#api/gen/flow/flow_pb.ts";

/** Whether a flow must outlast others where there is not room for all: a drop, or L7, is never lost before a forward is. */
export function isImportant({ verdict, l7 }: Flow): boolean {
  return l7 !== undefined || (verdict !== Verdict.FORWARDED && verdict !== Verdict.TRACED && verdict !== Verdict.TRANSLATED);
}
