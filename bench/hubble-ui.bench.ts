import { readFileSync } from "node:fs";
import { extname } from "node:path";
import { chromium, type Page } from "playwright-core";
import { type Benchmark, quantile, type Row } from "./row.ts";

const CHROMIUM = "/usr/bin/chromium";
const FLAGS =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update";
const ORIGIN = "http://hubble.test";
const FILES = new URL("../build/ui/", import.meta.url);
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};
const WORKLOADS = 200;
/** Workloads that each calls. */
const CALLS = 3;
const FRAMES = 180;

/** Flows of 200 workloads, each of which calls three others. */
function flows(): string {
  const end = (index: number) => {
    const name = `workload-${index % WORKLOADS}`;
    return {
      namespace: `team-${index % 10}`,
      pod_name: `${name}-0`,
      workloads: [{ name }],
      labels: [`k8s:app=${name}`],
      identity: 1000 + index,
    };
  };
  const time = new Date().toISOString();
  const messages = Array.from({ length: WORKLOADS * CALLS }, (_, index) => {
    const [source, destination] = [end(index), end(Math.floor(index / CALLS) + 1 + (index % CALLS) * 7)];
    const l4 = { TCP: { source_port: 40_000, destination_port: 80 } };
    return {
      flow: { time, uuid: String(index), verdict: index % 9 === 0 ? "DROPPED" : "FORWARDED", source, destination, l4, Summary: "TCP" },
    };
  });
  return messages.map((message) => `data: ${JSON.stringify(message)}\n\n`).join("");
}

async function openPage(page: Page): Promise<void> {
  await page.route(`${ORIGIN}/**`, (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname === "/api/flows") return route.fulfill({ contentType: "text/event-stream", body: flows() });
    const file = pathname === "/" ? "index.html" : pathname.slice(1);
    return route.fulfill({ contentType: TYPES[extname(file)] ?? "text/plain", body: readFileSync(new URL(file, FILES)) });
  });
  await page.goto(`${ORIGIN}/`);
  await page
    .locator(".card")
    .nth(WORKLOADS - 1)
    .waitFor({ state: "attached" });
}

/** In the page: milliseconds between frames, while the map is moved in each or left alone. */
const FRAME_TIMES = `async (moved) => {
  const map = document.querySelector(".map svg");
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const times = [await frame()];
  for (let index = 0; index < ${FRAMES}; index++) {
    if (moved) map.dispatchEvent(new KeyboardEvent("keydown", { bubbles: true, key: index % 20 < 10 ? "ArrowLeft" : "ArrowRight" }));
    times.push(await frame());
  }
  return times.slice(1).map((time, index) => time - times[index]);
}`;

export const benchmark: Benchmark = {
  name: "hubble-ui",
  about: "the page's map of 200 workloads while it is moved: time of a frame (needs Debian's chromium)",
  async run() {
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS.split(" ") });
    try {
      const page = await browser.newPage({ viewport: { width: 1500, height: 950 } });
      await openPage(page);
      const idle = quantile(await page.evaluate<number[]>(`(${FRAME_TIMES})(false)`), 0.5);
      const frames = await page.evaluate<number[]>(`(${FRAME_TIMES})(true)`);
      const row = { unit: "ms", peer: idle, peerName: "nothing moves", note: `${WORKLOADS} workloads` };
      const rows: Row[] = [
        { ...row, name: "frame while the map is moved, p50", ours: quantile(frames, 0.5), goal: 1.1 },
        { ...row, name: "frame while the map is moved, p95", ours: quantile(frames, 0.95), goal: 2 },
      ];
      return rows;
    } finally {
      await browser.close();
    }
  },
};
