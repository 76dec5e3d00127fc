import type { Pod } from "../objects.ts";

/** The value of a field of the pod by its path, as the downward API gives it; empty when there is none. */
export function fieldOf(pod: Pod, path: string): string {
  const subscript = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (subscript) return pod.metadata[subscript[1] as "labels" | "annotations"]?.[subscript[2] ?? ""] ?? "";
  switch (path) {
    case "metadata.labels":
    case "metadata.annotations": {
      const map = path === "metadata.labels" ? pod.metadata.labels : pod.metadata.annotations;
      return Object.entries(map ?? {})
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join("\n");
    }
    case "status.podIPs":
      return (pod.status?.podIPs ?? []).map(({ ip }) => ip).join(",");
    case "status.hostIPs":
      return (pod.status?.hostIPs ?? []).map(({ ip }) => ip).join(",");
    default: {
      let value: unknown = pod;
      for (const part of path.split(".")) value = (value as Record<string, unknown> | undefined)?.[part];
      return typeof value === "string" || typeof value === "number" ? String(value) : "";
    }
  }
}
