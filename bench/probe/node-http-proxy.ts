import { Agent, createServer, request } from "node:http";

/** `node node-http-proxy.ts LISTEN SERVER`: the same policy with nothing but Node's `http`: what one would write in an hour. */
const [listenPort = 0, serverPort = 0] = process.argv.slice(2, 4).map(Number);
const agent = new Agent({ keepAlive: true });
const admin = /^\/admin\/[a-z]+$/;
const open = /^\/public\/v[0-9]+\/.*$/;

createServer((incoming, outgoing) => {
  const { method, url: path = "", headers } = incoming;
  if (!(method === "GET" && open.test(path)) && !(method === "POST" && admin.test(path))) {
    outgoing.writeHead(403).end("Access denied\r\n");
    return;
  }
  const upstream = request({ host: "127.0.0.1", port: serverPort, agent, method, path, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(outgoing);
  });
  upstream.on("error", () => outgoing.destroy());
  incoming.pipe(upstream);
}).listen(listenPort, "127.0.0.1");
