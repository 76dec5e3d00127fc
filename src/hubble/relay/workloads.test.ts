import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { FlowSchema } from "#api/gen/flow/flow_pb.ts";
import { createWorkloadBook } from "./workloads.ts";

function flow(podName: string, workload?: string) {
  return create(FlowSchema, {
    source: { namespace: "demo", podName, workloads: workload === undefined ? [] : [{ name: workload, kind: "Deployment" }] },
  });
}

describe("workload book", () => {
  it("fills in what another node said, and leaves what it does not know", () => {
    const book = createWorkloadBook();
    book.complete(flow("web-1", "web"));
    const [known, unknown] = [flow("web-1"), flow("db-1")];
    book.complete(known);
    book.complete(unknown);
    assert.equal(known.source?.workloads[0]?.name, "web");
    assert.deepEqual(unknown.source?.workloads, []);
  });

  it("forgets the pod that was not seen for longest", () => {
    const book = createWorkloadBook(2);
    for (const name of ["a", "b", "a", "c"]) book.complete(flow(name, `of-${name}`));
    const names = ["a", "b", "c"].map((name) => {
      const asked = flow(name);
      book.complete(asked);
      return asked.source?.workloads[0]?.name;
    });
    assert.deepEqual(names, ["of-a", undefined, "of-c"]);
  });
});
