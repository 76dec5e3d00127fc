import { ageColumn, type Column, nameColumn } from "./columns.ts";

const DEFAULT: readonly Column[] = [nameColumn, ageColumn];
const table = new Map<string, readonly Column[]>();

/** The columns of a built-in kind. */
export function columnsOf(group: string, kind: string): readonly Column[] {
  return table.get(`${group}/${kind}`) ?? DEFAULT;
}
