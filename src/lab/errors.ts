import { CodedError } from "#runtime/errors.ts";

/** Input of the user that cannot be used; the message says what and how to correct it. */
export class LabConfigError extends CodedError {
  constructor(message: string) {
    super("lab-config", message);
  }
}

/** The machine refused something that the lab needs: no root, no kernel feature, a namespace that cannot be made. */
export class LabError extends CodedError {
  constructor(
    code: "no-root" | "preflight" | "running" | "not-running" | "sandbox" | "network" | "boot" | "cni" | "images",
    message: string,
    options?: ErrorOptions,
  ) {
    super(code, message, options);
  }
}

/** What anyone but root hears. */
export function needsRoot(): LabError {
  return new LabError("no-root", "the lab needs root: it makes network namespaces and loads eBPF programs. Run it with sudo");
}
