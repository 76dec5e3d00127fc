import type { JsonObject, KubeObject } from "../object.ts";
import type { Column } from "./columns.ts";

export interface TableOptions {
  /** `None`, `Metadata` or `Object`: what accompanies each row. */
  readonly include: string;
  readonly now: Date;
  readonly metadata: object;
  /** Leave out the column definitions (events of a watch after the first). */
  readonly rowsOnly?: boolean;
}

/** A `meta.k8s.io/v1` Table of the objects, as `kubectl get` prints it. */
export function toTable(columns: readonly Column[], objects: readonly KubeObject[], options: TableOptions): JsonObject {
  const definitions = columns.map(({ name, type, format = "", description, priority }) => ({ name, type, format, description, priority }));
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata: options.metadata,
    columnDefinitions: options.rowsOnly ? null : definitions,
    rows: objects.map((object) => ({
      cells: columns.map((column) => column.cell(object, options.now)),
      ...rowObject(object, options.include),
    })),
  };
}

function rowObject(object: KubeObject, include: string): { object?: JsonObject } {
  if (include === "None") return {};
  if (include === "Object") return { object };
  return { object: { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata } };
}
