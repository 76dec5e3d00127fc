import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { localAnswer } from "./local-answer.ts";

describe("the proxy's own answers", () => {
  const answer = (grpc: boolean, text: string) => {
    const { fields, body } = localAnswer(403, text, { method: "POST", grpc }, 1000, [
      ["X-Denied-By", "cilia"],
      ["Set-Cookie", "a=1"],
      ["Set-Cookie", "b=2"],
    ]);
    return { fields: fields.map(({ name, value }) => `${name}: ${value}`), body: body.toString() };
  };

  it("have the headers that were asked for, in small letters and each as often as it was given", () => {
    assert.deepEqual(answer(false, "no\r\n"), {
      fields: [":status: 403", "content-type: text/plain", "content-length: 4", "x-denied-by: cilia", "set-cookie: a=1", "set-cookie: b=2"],
      body: "no\r\n",
    });
  });

  it("escape of gRPC's message what cannot be printed, and the escape", () => {
    const { fields, body } = answer(true, "50% of disconnect/reset: ä\r\n");
    assert.deepEqual(fields.slice(0, 4), [
      ":status: 200",
      "content-type: application/grpc",
      "grpc-status: 7",
      "grpc-message: 50%25 of disconnect/reset: %C3%A4",
    ]);
    assert.equal(body, "");
  });
});
