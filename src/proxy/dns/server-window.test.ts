import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Sent, ServerWindow } from "./server-window.ts";

/** A window over a clock that is set by hand; questions are numbers. */
function createWorld() {
  const calls = new Map<number, Sent>();
  const world = { now: 0, calls };
  const send = (question: number): Sent => {
    const sent = { started: world.now, isFresh: true };
    calls.set(question, sent);
    return sent;
  };
  const window = new ServerWindow<number>(send, () => world.now, { callsPerServer: 2, freshMs: 10 });
  const ask = (client: string, question: number) => {
    if (window.isOpen) window.note(send(question));
    else window.wait(client, question);
  };
  return { world, window, ask, sent: () => [...calls.keys()] };
}

describe("ServerWindow", () => {
  it("lets so many go at once, the next when one is answered", () => {
    const { world, window, ask, sent } = createWorld();
    for (const question of [1, 2, 3, 4]) ask("a", question);
    assert.deepEqual(sent(), [1, 2]);
    window.over(world.calls.get(1) ?? assert.fail());
    assert.deepEqual(sent(), [1, 2, 3]);
    window.close();
  });

  it("does not count what was sent before a question that is answered: the server has read it", () => {
    const { world, window, ask, sent } = createWorld();
    for (const question of [1, 2, 3, 4]) ask("a", question);
    window.over(world.calls.get(2) ?? assert.fail());
    assert.deepEqual(sent(), [1, 2, 3, 4]);
    window.over(world.calls.get(1) ?? assert.fail());
    window.close();
  });

  it("does not count what the server has had for a while: a slow one keeps nobody back", async () => {
    const { world, window, ask, sent } = createWorld();
    for (const question of [1, 2, 3, 4, 5]) ask("a", question);
    world.now = 20;
    while (sent().length < 4) await new Promise((resolve) => setTimeout(resolve, 1));
    world.now = 40;
    while (sent().length < 5) await new Promise((resolve) => setTimeout(resolve, 1));
    for (const call of world.calls.values()) window.over(call);
    assert.ok(window.isIdle);
    ask("a", 6);
    assert.equal(sent().at(-1), 6);
    window.close();
  });

  it("gives clients their turns one after the other, however much each asks", () => {
    const { world, window, ask, sent } = createWorld();
    for (const question of [1, 2, 3, 4, 5, 6]) ask("flood", question);
    ask("neighbour", 100);
    for (const question of [1, 2, 3]) window.over(world.calls.get(question) ?? assert.fail());
    assert.deepEqual(sent(), [1, 2, 3, 100, 4]);
    window.close();
  });
});
