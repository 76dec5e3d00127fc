import { startApiServer } from "#apiserver/apiserver.ts";
import { silentLogger } from "#runtime/logger.ts";

/** Writes objects as fast as it can and says after each that it is stored, until it is killed. For api-faults.test.ts. */
const directory = process.argv[2] ?? "";
const api = await startApiServer({ log: silentLogger }, { directory, listeners: [] });

for (let count = 1; ; count++) {
  api.client.create("configmaps", { metadata: { name: `c${count}`, namespace: "default" }, data: { filler: "x".repeat(1000) } });
  if (!process.stdout.write(`${count}\n`)) await new Promise((resolve) => process.stdout.once("drain", resolve));
}
