import { catalogue, type Finding } from "#policy/lint/finding.ts";
import { placeOf } from "#policy/lint/place.ts";
import { policyKey } from "#policy/rule.ts";
import type { World } from "#policy/world/world.ts";

const levels = { error: "error", warning: "warning", info: "note" } as const;

/** The findings in the format that code hosts show beside the lines (SARIF 2.1.0). */
export function sarifOf(world: World, findings: readonly Finding[]): unknown {
  const rules = Object.entries(catalogue).map(([id, text]) => ({ id, shortDescription: { text } }));
  const results = findings.map((finding) => {
    const { file, place } = placeOf(world, finding);
    const region = place === undefined ? {} : { region: { startLine: place.line, startColumn: place.column } };
    return {
      ruleId: finding.id,
      level: levels[finding.severity],
      message: { text: `${policyKey(finding.policy)}: ${finding.message}. Fix: ${finding.fix}` },
      locations: [{ physicalLocation: { artifactLocation: { uri: file }, ...region } }],
    };
  });
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [{ tool: { driver: { name: "cilium policy lint", rules } }, results }],
  };
}
