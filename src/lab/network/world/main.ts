// The outside of the cluster: web servers of a few names, and the resolver that knows them. Runs in the world's network namespace.
import { existsSync, readFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { OUTSIDE_NAMES, WORLD } from "../addresses.ts";
import { startResolver } from "./resolver.ts";

const NAMES = new Map([...OUTSIDE_NAMES].map(([name, address]) => [address, name]));

const answer: RequestListener = (request, response) => {
  const local = (request.socket.localAddress ?? "").replace("::ffff:", "");
  const client = (request.socket.remoteAddress ?? "").replace("::ffff:", "");
  request.resume();
  response.writeHead(200, { "content-type": "text/plain", server: "world" });
  response.end(`${NAMES.get(local) ?? local} saw ${request.method} ${request.url} from ${client}\n`);
};

const [certificate = "", key = "", family = ""] = process.argv.slice(2);
createServer(answer).listen(80, "::");
if (existsSync(certificate)) createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key) }, answer).listen(443, "::");
startResolver({ names: OUTSIDE_NAMES, address: WORLD.resolver, port: 53, ipv6: family === "dual" });
