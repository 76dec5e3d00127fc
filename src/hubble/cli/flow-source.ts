import { createClient } from "@connectrpc/connect";
import { type GetFlowsRequest, type GetFlowsResponse, Observer } from "#api/gen/observer/observer_pb.ts";
import { callFailure, connectServer } from "./connect.ts";
import type { CommandContext } from "./context.ts";

/** Who takes what a server or a file answers. */
export interface FlowTaker {
  print(response: GetFlowsResponse): void;
}

/** Gives every response of the server, or of `--input-file`, to the taker. Rejects with a message for the user. */
export async function takeFlows(context: CommandContext, request: GetFlowsRequest, taker: FlowTaker): Promise<void> {
  const file = context.settings.text("input-file");
  if (file === "") return takeFromServer(context, request, taker);
  const { observeFile } = await import("./input-file.ts");
  await observeFile(context, request, taker, file);
}

async function takeFromServer(context: CommandContext, request: GetFlowsRequest, taker: FlowTaker): Promise<void> {
  using connection = connectServer(context);
  const client = createClient(Observer, connection.transport);
  try {
    for await (const response of client.getFlows(request, { signal: context.signal })) taker.print(response);
  } catch (thrown) {
    // The user stopped us: what came so far is the answer.
    if (!context.signal.aborted) throw callFailure(thrown, context.settings.text("server"));
  }
}
