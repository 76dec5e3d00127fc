import { startUi } from "#hubble/ui/server.ts";
import { defineFlags, formatHelp, readFlags } from "#runtime/flags.ts";
import { createLogger } from "#runtime/logger.ts";
import { runProgram } from "#runtime/program.ts";
import { aborted } from "#runtime/scope.ts";

const flags = defineFlags({
  "listen-address": { type: "string", default: "0.0.0.0", help: "Address to serve the page at." },
  port: { type: "number", default: 8081, help: "Port to serve the page at." },
  "flows-api-addr": {
    type: "string",
    default: process.env.FLOWS_API_ADDR ?? "hubble-relay:80",
    help: "Hubble Relay; environment FLOWS_API_ADDR.",
  },
  "backend-addr": {
    type: "string",
    default: "",
    help: "host:port of another hubble-ui that asks Hubble Relay; this one then serves the page only.",
  },
});

runProgram("hubble-ui", async (signal) => {
  if (process.argv.includes("--help")) {
    process.stdout.write(formatHelp("hubble-ui", "Serves the Hubble page with the flows of Hubble Relay.", flags));
    return 0;
  }
  const config = readFlags(flags);
  const log = createLogger("hubble-ui");
  const directory = new URL("../../build/ui/", import.meta.url);
  await using _ui = await startUi(
    { log },
    { host: config["listen-address"], port: config.port, relay: config["flows-api-addr"], backend: config["backend-addr"], directory },
  );
  log.info("serving the Hubble page", { port: config.port, relay: config["flows-api-addr"] });
  await aborted(signal);
  return 0;
});
