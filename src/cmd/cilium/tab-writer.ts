/**
 * Aligns what follows tabs, as Go's text/tabwriter does for upstream's commands: a column reaches over the neighbouring lines that
 * have it, is `padding` wider than its widest cell and never narrower than `least`. What follows a line's last tab is not padded.
 */
export function alignTabs(lines: readonly string[], { least = 0, padding = 3 } = {}): string[] {
  const rows = lines.map((line) => line.split("\t"));
  const widths = rows.map((): number[] => []);
  const has = (row: number, column: number) => (rows[row]?.length ?? 0) - 1 > column;
  const columns = Math.max(0, ...rows.map((row) => row.length - 1));
  for (let column = 0; column < columns; column++) {
    for (let first = 0; first < rows.length; first++) {
      if (!has(first, column)) continue;
      let end = first;
      while (has(end, column)) end++;
      const block = rows.slice(first, end).map((row) => (row[column] ?? "").length + padding);
      const width = Math.max(least, ...block);
      for (let row = first; row < end; row++) widths[row]?.push(width);
      first = end;
    }
  }
  return rows.map((row, at) => row.map((cell, column) => cell.padEnd(widths[at]?.[column] ?? 0)).join(""));
}
