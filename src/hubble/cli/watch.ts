import { createClient } from "@connectrpc/connect";
import { ChangeNotificationType, Peer } from "#api/gen/peer/peer_pb.ts";
import { UsageError } from "./args.ts";
import { callFailure, connectServer } from "./connect.ts";
import type { CommandContext } from "./context.ts";

/** `hubble watch peers`: a line for each change, until it is stopped. */
export async function watch(context: CommandContext): Promise<number> {
  const [what] = context.args.positionals;
  if (what !== "peers" && what !== "peer") throw new UsageError(`unknown command "${what ?? ""}" for "hubble watch": expected peers`);
  using connection = connectServer(context);
  try {
    for await (const { type, address, name, tls } of createClient(Peer, connection.transport).notify({}, { signal: context.signal })) {
      const kind = Object.entries(ChangeNotificationType).find(([, value]) => value === type)?.[0] ?? String(type);
      const serverName = tls === undefined ? "" : ` (TLS.ServerName: ${tls.serverName})`;
      context.out(`${kind.padEnd(12)} ${address} ${name}${serverName}\n`);
    }
  } catch (thrown) {
    if (!context.signal.aborted) throw callFailure(thrown, context.settings.text("server"));
  }
  return 0;
}
