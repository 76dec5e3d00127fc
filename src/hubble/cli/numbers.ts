/** `8,190`. */
export function formatCount(value: bigint): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `8,190/8,190 (100.00%)`; `N/A` when there is no maximum. */
export function formatRatio(value: bigint, maximum: bigint): string {
  if (maximum === 0n) return "N/A";
  return `${formatCount(value)}/${formatCount(maximum)} (${((Number(value) / Number(maximum)) * 100).toFixed(2)}%)`;
}
