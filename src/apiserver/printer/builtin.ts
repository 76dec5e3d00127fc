import { CLUSTER_COLUMNS } from "./cluster.ts";
import { ageColumn, type Column, nameColumn } from "./columns.ts";
import { CONFIG_COLUMNS } from "./config.ts";
import { NETWORK_COLUMNS } from "./network.ts";
import { WORKLOAD_COLUMNS } from "./workloads.ts";

const DEFAULT: readonly Column[] = [nameColumn, ageColumn];

const TABLE: Readonly<Record<string, readonly Column[]>> = {
  ...WORKLOAD_COLUMNS,
  ...NETWORK_COLUMNS,
  ...CONFIG_COLUMNS,
  ...CLUSTER_COLUMNS,
};

/** The columns of a built-in kind, in kube-apiserver's order. */
export function columnsOf(group: string, kind: string): readonly Column[] {
  return TABLE[`${group}/${kind}`] ?? DEFAULT;
}
