import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientStreams } from "./client-streams.ts";

function scene(maxConnections: number, connectionsPerClient: number) {
  const closed: string[] = [];
  const streams = new ClientStreams<{ readonly calls: number; close(): void }>({ maxConnections, connectionsPerClient });
  const open = (client: string, name: string, calls = 0) => {
    const stream = { calls, close: () => void closed.push(name) };
    return { stream, crowded: streams.add(client, stream) };
  };
  return { streams, open, closed };
}

test("a client with too many connections loses its oldest that nothing is under way on", () => {
  const { streams, open, closed } = scene(10, 2);
  open("a", "a1", 1);
  open("a", "a2");
  assert.equal(open("b", "b1").crowded, false);
  assert.equal(open("a", "a3").crowded, true);
  assert.deepEqual(closed, ["a2"]);
  assert.equal(streams.size, 3);
});

test("when all are too many, the client with the most makes room for the others", () => {
  const { streams, open, closed } = scene(4, 4);
  for (const name of ["a1", "a2", "a3"]) open("a", name);
  const { stream } = open("b", "b1");
  for (const name of ["c1", "d1"]) assert.equal(open(name, name).crowded, true);
  assert.deepEqual(closed, ["a1", "a2"]);
  streams.delete("b", stream);
  streams.delete("b", stream);
  assert.equal(streams.size, 3);
  assert.equal(open("e", "e1").crowded, false);
  assert.equal([...streams].length, 4);
});
