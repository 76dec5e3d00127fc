/** Rows as Go's tab writer aligns them (minimal width 2, padding 3): every cell but a row's last is padded. */
export function alignRows(rows: readonly (readonly string[])[], padding = 3, minimum = 2): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.slice(0, -1).entries()) widths[index] = Math.max(widths[index] ?? minimum, cell.length + padding);
  }
  return rows
    .map((row) => row.map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0))).join(""))
    .join("\n");
}
