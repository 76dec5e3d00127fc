/** In which form the client wants its answer. */
export interface Accept {
  readonly as?: "Table" | "PartialObjectMetadata" | "PartialObjectMetadataList" | "APIGroupDiscoveryList";
  readonly version?: string;
  /** Protobuf is taken too; only the OpenAPI v2 document is sent in it. */
  readonly protobuf: boolean;
}

/** Reads `Accept`: the first media type that we can serve wins; unknown ones are passed over, and JSON serves everybody. */
export function parseAccept(header: string | undefined): Accept {
  const protobuf = header?.includes("protobuf") ?? false;
  for (const type of (header ?? "").split(",")) {
    const [media = "", ...parameters] = type.split(";").map((part) => part.trim());
    const of = new Map(parameters.map((part) => part.split("=", 2) as [string, string]));
    if (media !== "application/json" && media !== "*/*" && media !== "application/*") continue;
    const as = of.get("as");
    if (as === undefined) return { protobuf };
    if (isKnown(as)) return { as, version: of.get("v") ?? "v1", protobuf };
  }
  return { protobuf };
}

const isKnown = (as: string): as is NonNullable<Accept["as"]> =>
  as === "Table" || as === "PartialObjectMetadata" || as === "PartialObjectMetadataList" || as === "APIGroupDiscoveryList";
