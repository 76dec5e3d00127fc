import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { layers } from "./layers.ts";

const root = new URL("..", import.meta.url).pathname;

interface Import {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(root + file, "utf8");
  const from = file.split("/")[1] ?? "";
  return [...text.matchAll(/(?:from|import\()\s*"#([^/"]+)\//g)].map(([, to = ""]) => ({ file, from, to }));
}

describe("the layers of src", () => {
  const files = globSync("src/**/*.ts", { cwd: root }).filter((file) => !file.endsWith(".test.ts"));
  const imports = files.flatMap(importsOf);

  it("are kept by every import", () => {
    const allowed = ({ from, to }: Import) => from === to || (layers[from] ?? []).some((name) => name === "*" || name === to);
    const refused = imports.filter((one) => !allowed(one));
    const lines = refused.map(
      ({ file, from, to }) => `${file} imports #${to}/: ${from}/ may import only ${layers[from]?.join(", ") || "nothing"}`,
    );
    assert.equal(lines.join("\n"), "");
  });

  it("are all listed", () => {
    const folders = new Set(files.map((file) => file.split("/")[1] ?? ""));
    assert.deepEqual(
      [...folders].filter((folder) => !(folder in layers)),
      [],
    );
  });

  it("were really looked at", () => {
    assert.ok(imports.length > 100, `only ${imports.length} imports between folders were seen: is the pattern still right?`);
  });

  it("are reached by # paths only, never by ../", () => {
    const crosses = (file: string) => {
      const targets = [...readFileSync(root + file, "utf8").matchAll(/(?:from|import\()\s*"(\.\.?\/[^"]+)"/g)].map(([, to = ""]) =>
        join(dirname(file), to),
      );
      return targets.some((to) => to.startsWith("src/") && to.split("/")[1] !== file.split("/")[1]);
    };
    assert.deepEqual(files.filter(crosses), []);
  });
});
