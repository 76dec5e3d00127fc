import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CARD } from "./card-size.ts";
import type { Flow } from "./flow.ts";
import { assignColumns, layoutMap } from "./layout.ts";
import { buildServiceMap, outcome } from "./service-map.ts";

function flow(source: string, destination: string, more: Partial<Flow> = {}): Flow {
  const end = (name: string) => ({ namespace: "demo", pod_name: `${name}-1`, workloads: [{ name }] });
  return {
    verdict: "FORWARDED",
    source: end(source),
    destination: end(destination),
    l4: { TCP: { source_port: 40000, destination_port: 80 } },
    ...more,
  };
}

describe("service map", () => {
  it("sums up a connection with its replies and requests, and keeps the newest denial", () => {
    const denied = flow("web", "api", { verdict: "DROPPED", uuid: "newest" });
    const reply = flow("api", "web", { is_reply: true, l4: { TCP: { source_port: 80, destination_port: 40000 } } });
    const request = flow("web", "api", { l7: { http: { method: "GET", url: "/get?x" } } });
    const { nodes, edges } = buildServiceMap([flow("web", "api"), reply, request, flow("web", "api", { verdict: "TRANSLATED" }), denied]);
    const [edge, ...others] = [...edges.values()];
    assert.equal(others.length, 0);
    assert.deepEqual(edge?.counts, { forwarded: 3, denied: 1, audited: 0 });
    assert.equal(edge?.lastDenied?.uuid, "newest");
    assert.equal(outcome(edge?.counts ?? { forwarded: 0, denied: 0, audited: 0 }), "mixed");
    assert.deepEqual([...(nodes.get("demo/api")?.ports.get("80/TCP")?.requests.keys() ?? [])], ["GET /get"]);
  });

  it("puts the rest of the world on one card", () => {
    const flows = Array.from({ length: 200 }, (_, index) => ({
      ...flow("web", "x"),
      destination: { labels: ["reserved:world"] },
      IP: { destination: `198.51.100.${index}` },
    }));
    const { nodes } = buildServiceMap(flows);
    assert.equal(nodes.size, 32);
    assert(nodes.has(":more of the world"));
  });
});

describe("layout", () => {
  it("puts clients left of what they call, circles too", () => {
    const map = buildServiceMap([flow("web", "api"), flow("api", "db"), flow("db", "web"), flow("web", "db")]);
    const columns = assignColumns(map);
    assert.equal(new Set(columns.values()).size, 3, "a circle is opened at one place");
    const tree = assignColumns(buildServiceMap([flow("web", "api"), flow("api", "db"), flow("web", "db")]));
    assert.deepEqual([tree.get("demo/web"), tree.get("demo/api"), tree.get("demo/db")], [0, 1, 2]);
  });

  it("lets no two cards overlap, and gives the same picture for the same flows in another order", () => {
    const flows = Array.from({ length: 200 }, (_, index) => flow(`w${index % 40}`, `s${(index * 7) % 60}`));
    const layout = layoutMap(buildServiceMap(flows));
    const places = new Map(layout.cards.map(({ node, x, y }) => [node.peer.id, `${x},${y}`]));
    for (const one of layout.cards) {
      for (const other of layout.cards) {
        if (one !== other && one.x === other.x) assert(one.y + one.height < other.y || other.y + other.height < one.y);
      }
    }
    const again = layoutMap(buildServiceMap([...flows].reverse()));
    assert.deepEqual(
      new Map([...again.cards].map(({ node, x, y }) => [node.peer.id, `${x},${y}`]).sort() as [string, string][]),
      new Map([...places].sort()),
    );
    assert.equal(layout.edges.length, buildServiceMap(flows).edges.size);
  });

  it("draws what passes a column between its cards", () => {
    const pairs = ["a b", "b c", "c d", "a c", "a d", "b d", "x b", "y b", "x c", "y d", "z d"].map((pair) => pair.split(" "));
    const { cards, edges } = layoutMap(buildServiceMap(pairs.map(([from = "", to = ""]) => flow(from, to))));
    const passing = edges.flatMap(({ path }) =>
      [...path.matchAll(/,(-?[\d.]+) H(\d+)/g)].map(([, y, right]) => ({ y: Number(y), right: Number(right) })),
    );
    assert(passing.length >= 6, `${passing.length} lines pass a column`);
    for (const { y, right } of passing) {
      for (const card of cards) {
        if (card.x + CARD.width === right) assert(y < card.y || y > card.y + card.height, `a line at ${y} runs under ${card.node.peer.id}`);
      }
    }
    assert(!edges.some(({ path }) => path.includes("NaN")));
  });
});
