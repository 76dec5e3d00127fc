import { readFile } from "node:fs/promises";
import { errorMessage } from "#runtime/errors.ts";

export interface FollowedFile extends AsyncDisposable {
  /** Looks at the file now. */
  reload(): Promise<void>;
}

/**
 * Gives the text of a file now and whenever it has changed, looking at it again and again: what mounts a ConfigMap replaces the file, which
 * watching it would miss. A file that cannot be read, and what `follow` throws, goes to `onError`, once for each text.
 */
export async function followFile(
  path: string,
  everyMs: number,
  { follow, onError }: { readonly follow: (text: string) => void | Promise<void>; readonly onError: (message: string) => void },
): Promise<FollowedFile> {
  let last: string | undefined;
  let complaint: string | undefined;
  const read = async () => {
    try {
      const text = await readFile(path, "utf8");
      if (text === last) return;
      last = text;
      await follow(text);
      complaint = undefined;
    } catch (thrown) {
      const message = errorMessage(thrown);
      if (message !== complaint) onError(message);
      complaint = message;
    }
  };
  let busy = read();
  await busy;
  const reload = () => {
    busy = busy.then(read);
    return busy;
  };
  const timer = setInterval(() => void reload(), everyMs).unref();
  return {
    reload,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await busy;
    },
  };
}
