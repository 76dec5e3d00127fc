import { createReadStream, createWriteStream } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";

export interface RotatingFileConfig {
  readonly path: string;
  /** A file that would grow over this is set aside. */
  readonly maxBytes: number;
  /** Files set aside that are kept, the newest; 0: all. */
  readonly maxBackups: number;
  /** Whether files set aside are compressed (`.gz`). */
  readonly compress: boolean;
}

/** A file that starts anew when it is full, as upstream's exporter does: `flows.log` becomes `flows-2026-01-02T15-04-05.000.log`. */
export interface RotatingFile extends AsyncDisposable {
  /** Appends text; calls must not overlap. Rejects with the file system's error, and may be called again after it. */
  append(text: string): Promise<void>;
}

/** Opens nothing yet: the file and its directory are made with the first text. */
export function createRotatingFile(config: RotatingFileConfig): RotatingFile {
  let file: FileHandle | undefined;
  let size = 0;
  const openFile = async (): Promise<FileHandle> => {
    await mkdir(dirname(config.path), { recursive: true });
    const opened = await open(config.path, "a", 0o600);
    size = (await opened.stat()).size;
    return opened;
  };
  const close = async (): Promise<void> => {
    await file?.close();
    file = undefined;
  };
  return {
    async append(text) {
      file ??= await openFile();
      const bytes = Buffer.from(text);
      if (size > 0 && size + bytes.length > config.maxBytes) {
        await close();
        await setAside(config);
        file = await openFile();
      }
      await file.appendFile(bytes);
      size += bytes.length;
    },
    [Symbol.asyncDispose]: close,
  };
}

async function setAside(config: RotatingFileConfig): Promise<void> {
  const extension = extname(config.path);
  const stem = basename(config.path, extension);
  const stamp = new Date().toISOString().replaceAll(":", "-").slice(0, -1);
  const backup = join(dirname(config.path), `${stem}-${stamp}${extension}`);
  await rename(config.path, backup);
  if (config.compress) {
    await pipeline(createReadStream(backup), createGzip(), createWriteStream(`${backup}.gz`, { mode: 0o600 }));
    await rm(backup);
  }
  if (config.maxBackups > 0) await removeOld(config, stem, extension);
}

async function removeOld({ path, maxBackups }: RotatingFileConfig, stem: string, extension: string): Promise<void> {
  const directory = dirname(path);
  const isBackup = (name: string) => name.startsWith(`${stem}-2`) && (name.endsWith(extension) || name.endsWith(`${extension}.gz`));
  const backups = (await readdir(directory)).filter(isBackup).sort();
  await Promise.all(backups.slice(0, -maxBackups).map((name) => rm(join(directory, name), { force: true })));
}
