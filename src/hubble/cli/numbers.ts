/** `8,190`. */
export function formatCount(value: bigint): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `8,190/8,190 (100.00%)`; without the share when there is no maximum. */
export function formatRatio(value: bigint, maximum: bigint): string {
  const share = maximum === 0n ? "" : ` (${((Number(value) / Number(maximum)) * 100).toFixed(2)}%)`;
  return `${formatCount(value)}/${formatCount(maximum)}${share}`;
}
