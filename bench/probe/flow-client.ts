import { connect } from "node:http2";
import { parseArgs } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { GetFlowsRequestSchema, type GetFlowsResponse, GetFlowsResponseSchema } from "#api/gen/observer/observer_pb.ts";
import { grpcFrame } from "#hubble/server/grpc-stream.ts";

/**
 * A client that follows flows and only counts them: the server is what is measured. Says `ready` when the first has come, and a line of JSON
 * when so many have come or were reported lost.
 */
const { values } = parseArgs({ options: { server: { type: "string", default: "" }, flows: { type: "string", default: "0" } } });
const WINDOW = 16 * 1024 * 1024;
const FLOW_TAG = 0x0a;

const session = connect(`http://${values.server}`, { settings: { initialWindowSize: WINDOW } });
session.once("connect", () => session.setLocalWindowSize(WINDOW));
const stream = session.request({
  ":method": "POST",
  ":path": "/observer.Observer/GetFlows",
  "content-type": "application/grpc",
  te: "trailers",
});
stream.end(grpcFrame(toBinary(GetFlowsRequestSchema, create(GetFlowsRequestSchema, { follow: true, number: 1n }))));

let rest: Buffer = Buffer.alloc(0);
let [flows, lost, bytes] = [0, 0, 0];
stream.on("data", (chunk: Buffer) => {
  if (bytes === 0) process.stdout.write("ready\n");
  bytes += chunk.length;
  const data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
  let at = 0;
  while (data.length - at >= 6) {
    const end = at + 5 + data.readUInt32BE(at + 1);
    if (end > data.length) break;
    if (data[at + 5] === FLOW_TAG) flows++;
    else lost += lostIn(fromBinary(GetFlowsResponseSchema, data.subarray(at + 5, end)));
    at = end;
  }
  rest = data.subarray(at);
  if (flows + lost < Number(values.flows)) return;
  process.stdout.write(`${JSON.stringify({ flows, lost, bytes })}\n`);
  session.destroy();
});

function lostIn({ responseTypes }: GetFlowsResponse): number {
  return responseTypes.case === "lostEvents" ? Number(responseTypes.value.numEventsLost) : 0;
}
