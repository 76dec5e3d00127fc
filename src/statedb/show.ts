/** Text in columns: a header and rows, each column as wide as its widest cell, no blanks at line ends. */
export function formatColumns(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("   ")
      .trimEnd();
  return `${[header, ...rows].map(line).join("\n")}\n`;
}

/** One cell: lists joined by commas, nothing as `-`, objects as JSON. */
export function formatCell(value: unknown): string {
  if (value === undefined || value === null || value === "") return "-";
  if (Array.isArray(value)) return value.length === 0 ? "-" : value.map(formatCell).join(",");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
