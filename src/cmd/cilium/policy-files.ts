import { stringify } from "yaml";
import { formatFinding, lintPolicies } from "#policy/lint.ts";
import { portablePolicy } from "#policy/portable.ts";
import { readObjects } from "./object-files.ts";
import { formatOutput } from "./output.ts";
import { loadWorld, type WorldOptions } from "./world.ts";

/** `policy lint`: what is legal but probably not meant, the worst first. Invalid policies are for `policy validate`. */
export async function policyLint(options: WorldOptions & { readonly output?: string }): Promise<string> {
  const { repo, cache, endpoints } = await loadWorld(options);
  const findings = lintPolicies(repo, endpoints.length > 0 ? cache : undefined);
  if (options.output) return formatOutput(options.output, findings);
  return findings.map((one) => `${formatFinding(one)}\n`).join("");
}

/** `policy export FILE…`: the objects as YAML; with `portable`, policies as every Cilium accepts them. */
export function policyExport(files: readonly string[], portable: boolean): string {
  return readObjects(files)
    .map(({ object }) => stringify(portable ? portablePolicy(object) : object, { aliasDuplicateObjects: false }))
    .join("---\n");
}
