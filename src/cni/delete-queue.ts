import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "#runtime/logger.ts";
import { type Attachments, answerCni } from "./plugin.ts";

/**
 * Replays what the plugin binary left while there was no agent: one file, one DEL request. A file that fails stays for the
 * next start; one that is no request is thrown away, said in the log.
 */
export async function replayDeleteQueue(
  deps: { readonly attachments: Attachments; readonly log: Logger },
  directory: string,
): Promise<number> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  let replayed = 0;
  for (const name of readdirSync(directory).sort()) {
    if (!name.endsWith(".delete")) continue;
    const path = join(directory, name);
    const answer = await answerCni(deps.attachments, readFileSync(path, "utf8").trim());
    if (answer.exitCode === 0) replayed += 1;
    else deps.log.warn("queued delete failed", { file: name, answer: answer.stdout });
    if (answer.exitCode === 0 || isHopeless(answer.stdout)) rmSync(path, { force: true });
  }
  return replayed;
}

/** Codes 1 to 7: the request itself is wrong and will not become right. */
function isHopeless(stdout: unknown): boolean {
  const { code = 0 } = (stdout ?? {}) as { code?: number };
  return code >= 1 && code <= 7;
}
