// The health and metrics pages of a Prometheus server; it scrapes nothing.
import { createServer } from "node:http";
import { declaredPorts, stopOnSignal } from "./ports.ts";

const PAGES: Readonly<Record<string, string>> = {
  "/": "<html><title>Prometheus</title></html>\n",
  "/-/ready": "Prometheus Server is Ready.\n",
  "/-/healthy": "Prometheus Server is Healthy.\n",
  "/metrics": '# TYPE prometheus_build_info gauge\nprometheus_build_info{version="2.55.1"} 1\n',
};

stopOnSignal();
for (const port of declaredPorts()) {
  createServer((request, response) => {
    const page = PAGES[request.url ?? "/"];
    response.writeHead(page === undefined ? 404 : 200).end(page ?? "404 page not found\n");
  }).listen(port, "::");
}
