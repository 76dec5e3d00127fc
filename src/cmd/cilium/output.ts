import { CodedError } from "#runtime/errors.ts";

export class OutputError extends CodedError {}

/** Text for `-o json|yaml|jsonpath='{…}'`, with a newline at its end. `more` are formats that the command knows besides. */
export async function formatOutput(output: string, value: unknown, more: readonly string[] = []): Promise<string> {
  if (output === "json") return `${JSON.stringify(value, null, 2)}\n`;
  if (output === "yaml") return (await import("yaml")).stringify(value);
  if (output.startsWith("jsonpath=")) {
    const { evaluateJsonPath } = await import("./jsonpath.ts");
    return `${evaluateJsonPath(output.slice("jsonpath=".length), value)}\n`;
  }
  throw new OutputError("bad-output", `-o ${output}: allowed are ${[...more, "json", "yaml"].join(", ")} and jsonpath='{…}'`);
}

/** Rows under their headings, columns as wide as their widest cell, `pad` spaces between them. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[], pad = 3): string {
  const all = headings.length > 0 ? [headings, ...rows] : rows;
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const lines = all.map((row) =>
    row
      .map((cell, column) => cell.padEnd((widths[column] ?? 0) + pad))
      .join("")
      .trimEnd(),
  );
  return lines.map((line) => `${line}\n`).join("");
}
