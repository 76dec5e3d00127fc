import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type GetFlowsRequest,
  GetFlowsRequestSchema,
  type GetFlowsResponse,
  GetFlowsResponseSchema,
} from "#api/gen/observer/observer_pb.ts";
import type { History } from "../history/history.ts";
import { EXPLAIN_HEADER } from "../observer/explain-header.ts";
import { createFlowView, type FlowEntry, flowBatches, responseOf, type StreamItem } from "../observer/flows.ts";
import type { Observer } from "../observer/observer.ts";
import { AGENT_VERSION_HEADER } from "../observer/service.ts";
import { createEncoder } from "../wire/encoder.ts";
import { grpcFrames, type StreamMethod } from "./grpc-stream.ts";

/** Path of the method that this serves. */
export const GET_FLOWS = "/observer.Observer/GetFlows";

const responses = createEncoder<GetFlowsResponse>(GetFlowsResponseSchema);

/** GetFlows in gRPC's own bytes: each flow is encoded once for all clients that ask for the same fields. */
export function getFlowsMethod(observer: Observer, history?: History): StreamMethod {
  const kept = createFrameCache();
  return {
    headers: { [AGENT_VERSION_HEADER]: observer.version },
    async *run(bytes, { signal, has }) {
      const request = requestOf(bytes);
      const explain = has(EXPLAIN_HEADER);
      const view = createFlowView(request, explain);
      const response = (item: StreamItem) => responseOf(item, observer.names.nodeName, view);
      using frames = kept.reader(`${explain} ${request.fieldMask?.paths.join() ?? ""}`);
      for await (const batch of flowBatches(observer, history, request, signal))
        yield grpcFrames(
          responses,
          batch.map((item) => (item.kind === "flow" ? frames.of(item, response) : response(item))),
        );
    },
  };
}

function requestOf(bytes: Uint8Array): GetFlowsRequest {
  try {
    return fromBinary(GetFlowsRequestSchema, bytes);
  } catch (cause) {
    throw new ConnectError("the request is no GetFlowsRequest", Code.InvalidArgument, undefined, undefined, cause);
  }
}

/** Frames of flows, kept only while several clients read the same. */
function createFrameCache() {
  const readers = new Map<string, number>();
  const frames = new WeakMap<FlowEntry, Map<string, Buffer>>();
  return {
    /** A reader of frames that are the same for all readers with this key. */
    reader(key: string) {
      readers.set(key, (readers.get(key) ?? 0) + 1);
      return {
        /** The frame of an entry, or its message when there is nobody to share it with. */
        of(entry: FlowEntry, response: (entry: FlowEntry) => GetFlowsResponse): Buffer | GetFlowsResponse {
          if (readers.get(key) === 1) return response(entry);
          const ofEntry = frames.get(entry) ?? new Map<string, Buffer>();
          const frame = ofEntry.get(key) ?? grpcFrames(responses, [response(entry)]);
          if (ofEntry.size === 0) frames.set(entry, ofEntry);
          ofEntry.set(key, frame);
          return frame;
        },
        [Symbol.dispose]() {
          const left = (readers.get(key) ?? 1) - 1;
          if (left === 0) readers.delete(key);
          else readers.set(key, left);
        },
      };
    },
  };
}
