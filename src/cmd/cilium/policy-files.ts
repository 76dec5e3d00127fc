import { readFileSync } from "node:fs";
import { parseAllDocuments, stringify } from "yaml";
import { formatFinding, lintPolicies } from "#policy/lint.ts";
import { parsePolicy, policyKinds } from "#policy/parse.ts";
import { portablePolicy } from "#policy/portable.ts";
import { createRepository } from "#policy/repository.ts";
import { formatOutput } from "./output.ts";

/** The objects in YAML files (JSON is YAML), in order; `-` reads standard input. Throws on text that is no YAML. */
function objectsIn(files: readonly string[]): unknown[] {
  return files.flatMap((file) => {
    const documents = parseAllDocuments(readFileSync(file === "-" ? 0 : file, "utf8"));
    return (Array.isArray(documents) ? documents : []).flatMap((document) => {
      const [error] = document.errors;
      if (error !== undefined) throw new Error(`${file}: ${error.message.split("\n")[0]}`);
      const object: unknown = document.toJS();
      return object === null ? [] : [object];
    });
  });
}

function isPolicy(object: unknown): boolean {
  return typeof object === "object" && object !== null && "kind" in object && policyKinds.includes(String(object.kind));
}

/** `policy lint FILE…`: what is legal but probably not meant, the worst first. Invalid policies are for `policy validate`. */
export async function policyLint(files: readonly string[], output: string | undefined): Promise<string> {
  const parsed = objectsIn(files)
    .filter(isPolicy)
    .map((object) => parsePolicy(object));
  const findings = lintPolicies(createRepository().with(...parsed));
  if (output) return formatOutput(output, findings);
  return findings.map((one) => `${formatFinding(one)}\n`).join("");
}

/** `policy export FILE…`: the objects as YAML; with `portable`, policies as every Cilium accepts them. */
export function policyExport(files: readonly string[], portable: boolean): string {
  return objectsIn(files)
    .map((object) => stringify(portable ? portablePolicy(object) : object, { aliasDuplicateObjects: false }))
    .join("---\n");
}
