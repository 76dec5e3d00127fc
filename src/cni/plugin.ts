import { toError } from "#runtime/errors.ts";
import { CNI_ERROR, CniError, type CniRequest, parseRequest } from "./request.ts";
import { type Attachment, type CniAnswer, checkVersion, formatError, formatResult, SUPPORTED_VERSIONS } from "./result.ts";

/** What the agent does for the plugin. Rejections are told to the runtime; `CniError` chooses the code. */
export interface Attachments {
  /** Creates the pod's endpoint. Resolves when its identity and policy are in the kernel; rejects with everything undone. */
  add(request: CniRequest): Promise<Attachment>;
  /** Removes it; success when there is none. */
  remove(request: Pick<CniRequest, "containerId" | "ifname">): Promise<void>;
  /** Rejects when the attachment is not as ADD left it. */
  check(request: CniRequest): Promise<void>;
  /** Removes every attachment that is not in the list. */
  collect(valid: readonly { readonly containerID: string; readonly ifname: string }[]): Promise<void>;
  /** Why no pod can be added now; undefined when it can. */
  unavailable(): string | undefined;
}

/** Answers one line of the plugin binary. Never rejects. */
export async function answerCni(attachments: Attachments, line: string): Promise<CniAnswer> {
  let version = "0.3.1";
  try {
    const request = parseRequest(line);
    version = request.config.cniVersion;
    if (request.command === "VERSION") return { exitCode: 0, stdout: { cniVersion: version, supportedVersions: SUPPORTED_VERSIONS } };
    checkVersion(version);
    return { exitCode: 0, ...(await run(attachments, request)) };
  } catch (thrown) {
    return formatError(version, toError(thrown));
  }
}

async function run(attachments: Attachments, request: CniRequest): Promise<{ stdout?: unknown }> {
  switch (request.command) {
    case "ADD": {
      const reason = attachments.unavailable();
      if (reason !== undefined) throw new CniError(CNI_ERROR.tryAgain, reason);
      return { stdout: formatResult(request.config.cniVersion, await attachments.add(request)) };
    }
    case "DEL":
      await attachments.remove(request);
      return {};
    case "CHECK":
      await attachments.check(request);
      return {};
    case "GC":
      await attachments.collect(request.config.validAttachments);
      return {};
    case "STATUS": {
      const reason = attachments.unavailable();
      if (reason !== undefined) throw new CniError(CNI_ERROR.notAvailable, reason);
      return {};
    }
    case "VERSION":
      return {};
  }
}
