import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { GetFlowsRequest } from "#api/gen/observer/observer_pb.ts";
import { FilterError } from "../filters/text.ts";
import { nanosecondsOf } from "../parser/messages.ts";
import type { RangeRequest } from "./range.ts";

type Limits = Pick<GetFlowsRequest, "number" | "first" | "follow"> & { since?: Timestamp | undefined; until?: Timestamp | undefined };

/** Reads the limits of any of the three streams. Throws InvalidArgument for limits that contradict each other. */
export function rangeOf(limits: Limits): RangeRequest {
  if (limits.first && limits.follow) throw new ConnectError("first cannot be specified with follow", Code.InvalidArgument);
  const time = (stamp: Limits["since"]) => (stamp === undefined ? undefined : nanosecondsOf(stamp));
  const number = limits.number > BigInt(Number.MAX_SAFE_INTEGER) ? 0 : Number(limits.number);
  return { number, first: limits.first, follow: limits.follow, since: time(limits.since), until: time(limits.until) };
}

/** `make`, with a filter nobody can understand reported as InvalidArgument. */
export function validated<T>(make: () => T): T {
  try {
    return make();
  } catch (thrown) {
    if (thrown instanceof FilterError) throw new ConnectError(thrown.message, Code.InvalidArgument);
    throw thrown;
  }
}
