/** How far a row is towards the kernel. Set by the table's reconciler, shown with the row. */
export type Status =
  | { readonly kind: "pending" }
  | { readonly kind: "done" }
  | { readonly kind: "error"; readonly message: string; readonly attempts: number };

export const PENDING: Status = Object.freeze({ kind: "pending" });
export const DONE: Status = Object.freeze({ kind: "done" });

/** `done`, or `error (3): no space left`. */
export function formatStatus(status: Status): string {
  return status.kind === "error" ? `error (${status.attempts}): ${status.message}` : status.kind;
}
