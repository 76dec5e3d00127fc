import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { certificateProblem, clearTextProblem } from "../client/certificate-problem.ts";
import { type GrpcConnection, openConnection, type TlsOptions } from "../client/transport.ts";
import { EXPLAIN_HEADER } from "../observer/explain-header.ts";
import { UsageError } from "./args.ts";
import type { CommandContext } from "./context.ts";
import type { Settings } from "./settings.ts";

/** The connection to the server the settings name. Dispose it. */
export function connectServer({ settings, terminal }: Pick<CommandContext, "settings" | "terminal">): GrpcConnection {
  const server = settings.text("server");
  const secure = settings.bool("tls") || server.startsWith("tls://");
  checkCredentials(settings, secure);
  const tls = tlsOptions(settings);
  return openConnection({
    server,
    ...(secure ? { tls } : {}),
    dialTimeoutMs: settings.duration("timeout"),
    interceptors: [
      ourHeaders(settings, explains({ settings, terminal })),
      explainFailure(() => (secure ? certificateProblem(server, tls) : clearTextProblem(server))),
    ],
  });
}

/** Throws UsageError for credentials that are half given, or that would not be protected. */
function checkCredentials(settings: Settings, secure: boolean): void {
  const given = (flag: string) => settings.text(flag) !== "";
  const refuse = (wrong: boolean, message: string) => {
    if (wrong) throw new UsageError(`invalid flag(s): ${message}`);
  };
  const user = given("basic-auth-username");
  const certificate = given("tls-client-cert-file");
  refuse(user !== given("basic-auth-password"), "must specify both basic-auth-username and basic-auth-password");
  const half = certificate !== given("tls-client-key-file");
  refuse(half, "certificate and private key are both required, but only one was provided");
  refuse((user || certificate) && !secure, "transport layer security required: add --tls or write tls://host:port");
}

/** What a call fails with when there is no connection, or one that is cut. */
const CUT: ReadonlySet<Code> = new Set([Code.Unavailable, Code.Canceled, Code.Internal, Code.Unknown, Code.Aborted]);

/** Says which certificate, or which side's lack of TLS, it is that a call fails for. */
function explainFailure(findProblem: () => Promise<string | undefined>): Interceptor {
  return (next) => async (request) => {
    try {
      return await next(request);
    } catch (thrown) {
      const error = ConnectError.from(thrown);
      const problem = CUT.has(error.code) && !request.signal.aborted ? await findProblem() : undefined;
      throw problem === undefined ? error : new ConnectError(problem, Code.Unauthenticated, undefined, undefined, thrown);
    }
  };
}

/**
 * Whether to ask why flows were denied: `--explain`, and lines on a terminal. JSON has explanations only when they are asked for, since
 * other readers of flows stumble over a message they do not know.
 */
export function explains({ settings, terminal }: Pick<CommandContext, "settings" | "terminal">): boolean {
  if (settings.has("explain")) return settings.bool("explain");
  return terminal && !settings.text("output").toLowerCase().startsWith("json");
}

/** Asks for explanations when they are wanted, and adds HTTP basic authentication. */
function ourHeaders(settings: Settings, explain: boolean): Interceptor {
  const [user, password] = [settings.text("basic-auth-username"), settings.text("basic-auth-password")];
  return (next) => (request) => {
    if (explain) request.header.set(EXPLAIN_HEADER, "1");
    if (user !== "") request.header.set("authorization", `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`);
    return next(request);
  };
}

function tlsOptions(settings: Settings): TlsOptions {
  const serverName = settings.text("tls-server-name");
  return {
    allowInsecure: settings.bool("tls-allow-insecure"),
    caFiles: settings.list("tls-ca-cert-files"),
    certFile: settings.text("tls-client-cert-file"),
    keyFile: settings.text("tls-client-key-file"),
    ...(serverName === "" ? {} : { serverName }),
  };
}

/** What to tell the user of a failed call: gRPC's words, and what to do when nobody answers. */
export function callFailure(thrown: unknown, server: string): Error {
  const error = ConnectError.from(thrown);
  if (error.code === Code.Unauthenticated) return new Error(`failed to connect to '${server}': ${error.rawMessage}`, { cause: thrown });
  if (
    error.code === Code.Unavailable ||
    /ECONNREFUSED|ENOENT|no connection|ENOTFOUND|EACCES|E(NET|HOST)UNREACH|ETIMEDOUT/.test(error.rawMessage)
  ) {
    const hint = server.startsWith("unix:")
      ? "is the agent running?"
      : "is the relay running, and 'cilium hubble port-forward' where it is needed?";
    return new Error(`failed to connect to '${server}': ${error.rawMessage}; ${hint}`, { cause: thrown });
  }
  return new Error(`rpc error: code = ${Code[error.code]} desc = ${error.rawMessage}`, { cause: thrown });
}
