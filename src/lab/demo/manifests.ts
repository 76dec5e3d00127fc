import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import type { Manifest } from "#k8s/apply.ts";
import { PROJECT } from "../paths.ts";

/** The objects of a file of `examples/policy-progression`. */
export function readExample(file: string): Manifest[] {
  const text = readFileSync(join(PROJECT, "examples/policy-progression", file), "utf8");
  return parseAllDocuments(text).map((document) => document.toJSON() as Manifest);
}
