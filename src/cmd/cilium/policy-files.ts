import { stringify } from "yaml";
import { portablePolicy } from "#policy/parse/portable.ts";
import { readObjects } from "./object-files.ts";

/** `policy export FILE…`: the objects as YAML; with `portable`, policies as every Cilium accepts them. */
export function policyExport(files: readonly string[], portable: boolean): string {
  return readObjects(files)
    .map(({ object }) => stringify(portable ? portablePolicy(object) : object, { aliasDuplicateObjects: false }))
    .join("---\n");
}
