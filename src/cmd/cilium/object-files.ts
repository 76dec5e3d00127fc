import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { misspeltKind } from "#policy/parse/misspelt.ts";
import { DocumentError, objectsIn } from "#policy/world/documents.ts";
import { flattened, formatPlace, type SourcedObject } from "#policy/world/objects.ts";
import { CodedError } from "#runtime/errors.ts";

/** A file that cannot be read, or is no YAML; the message names file and place. */
export class ObjectFileError extends CodedError {}

/** The text of a file; `-` is standard input. Throws `ObjectFileError` saying which file and why. */
export function readText(file: string): string {
  try {
    return textOf(readFileSync(file === "-" ? 0 : file));
  } catch (thrown) {
    throw unreadable(file, thrown);
  }
}

/** UTF-8, or UTF-16 where a byte order mark says so: what Windows' shells write. */
function textOf(bytes: Buffer): string {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return bytes.toString("utf16le", 2);
  if (first === 0xfe && second === 0xff)
    return bytes
      .subarray(2, bytes.length & ~1)
      .swap16()
      .toString("utf16le");
  return bytes.toString("utf8");
}

function unreadable(file: string, thrown: unknown): ObjectFileError {
  return new ObjectFileError("unreadable", `cannot read ${file}: ${reasonOf(thrown)}`);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a directory; name a file",
  EACCES: "permission denied",
};

/** Why a file cannot be read, in words. */
export function reasonOf(thrown: unknown): string {
  const { code = "" } = thrown as NodeJS.ErrnoException;
  return REASONS[code] ?? (code || String(thrown));
}

/** The files that a path stands for: itself, or the YAML and JSON files below it in order of their names. Throws `ObjectFileError`. */
export function filesUnder(path: string): string[] {
  if (path === "-") return [path];
  try {
    if (!statSync(path).isDirectory()) return [path];
    const entries = readdirSync(path, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile() && /\.(ya?ml|json)$/.test(entry.name));
    return files.map((entry) => join(entry.parentPath, entry.name)).sort();
  } catch (thrown) {
    throw unreadable(path, thrown);
  }
}

/**
 * The objects in YAML or JSON files and in directories of them, in order. Throws `ObjectFileError`: a file that is half read would mislead, and so
 * would a policy that is passed over as its kind is misspelt.
 */
export function readObjects(paths: readonly string[]): SourcedObject[] {
  const objects = readAllObjects(paths);
  for (const { object, source } of objects.flatMap(flattened)) {
    const misspelt = misspeltKind(object);
    if (misspelt !== undefined) throw new ObjectFileError("misspelt-kind", `${formatPlace(source, "kind")}: kind: ${misspelt}`);
  }
  return objects;
}

/** `readObjects`, for who speaks of misspelt kinds himself. */
export function readAllObjects(paths: readonly string[]): SourcedObject[] {
  return paths.flatMap(filesUnder).flatMap((file) => {
    try {
      const found = objectsIn(file, readText(file));
      if (found.some(({ object }) => typeof object !== "object"))
        throw new ObjectFileError("no-object", `${file}: no Kubernetes objects: needed is YAML or JSON with apiVersion and kind`);
      return found;
    } catch (thrown) {
      throw thrown instanceof DocumentError ? new ObjectFileError("bad-yaml", thrown.message) : thrown;
    }
  });
}
