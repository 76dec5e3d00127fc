import { alignRows } from "./tabular.ts";

/** One event in the three forms for people. */
export interface EventForms {
  /** What stands after the time and the node. */
  readonly compact: string;
  readonly dict: readonly (readonly [string, string])[];
  readonly row: readonly string[];
}

export interface EventPrinterOptions {
  readonly format: "compact" | "dict" | "table";
  readonly header: readonly string[];
  readonly nodeName: boolean;
  readonly out: (text: string) => void;
}

/** Prints events that are no flows. `end` must be called once: a table is printed only then. */
export function createEventPrinter({ format, header, nodeName, out }: EventPrinterOptions) {
  const rows: (readonly string[])[] = [["TIMESTAMP", ...(nodeName ? ["NODE"] : []), ...header]];
  let printed = 0;
  return {
    print(time: string, node: string, { compact, dict, row }: EventForms): void {
      if (format === "compact") out(`${time}${nodeName ? ` [${node}]` : ""}: ${compact}\n`);
      else if (format === "table") rows.push([time, ...(nodeName ? [node] : []), ...row]);
      else {
        const lines = [["TIMESTAMP", time], ...(nodeName ? [["NODE", node]] : []), ...dict] as const;
        // Upstream's separator of events stands before the first key, on its line.
        out(`${printed++ === 0 ? "" : "------------"}${lines.map(([key = "", value]) => `${key.padStart(11)}: ${value}\n`).join("")}`);
      }
    },
    end(): void {
      if (rows.length > 1) out(`${alignRows(rows)}\n`);
    },
  };
}
