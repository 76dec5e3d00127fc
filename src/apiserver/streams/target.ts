import { ApiError, badRequest, notFound } from "../errors.ts";
import { isTrue } from "../http/exchange.ts";
import { asArray, at, type KubeObject, objectKey } from "../object.ts";
import type { Core } from "../operations/core.ts";
import type { AttachRequest, ExecRequest } from "./pod-streams.ts";

/** The pod of a stream request. Throws 404. */
export function findPod(core: Core, namespace: string | undefined, name: string): KubeObject {
  const pod = core.store.get("pods", objectKey(namespace, name));
  if (!pod) throw notFound({ group: "", resource: "pods" }, name);
  return pod;
}

/** The container that was asked for, or the pod's only (or default) one. Throws 400 with the choices. */
export function chooseContainer(pod: KubeObject, wanted: string | null): string {
  const names = ["containers", "initContainers", "ephemeralContainers"].flatMap((list) =>
    asArray(at(pod, "spec", list)).map((each) => String(at(each, "name"))),
  );
  if (wanted && names.includes(wanted)) return wanted;
  if (wanted) throw badRequest(`container ${wanted} is not valid for pod ${pod.metadata.name}`);
  const fallback = pod.metadata.annotations?.["kubectl.kubernetes.io/default-container"];
  const main = asArray(at(pod, "spec", "containers"));
  if (fallback && names.includes(fallback)) return fallback;
  if (main.length === 1) return String(at(main[0], "name"));
  throw badRequest(`a container name must be specified for pod ${pod.metadata.name}, choose one of: [${names.join(" ")}]`);
}

/** Pods that are on no node yet have nothing to connect to. */
export function requireNode(pod: KubeObject): void {
  if (!at(pod, "spec", "nodeName")) throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
}

/** Options of exec (with a command) and attach, from the query. */
export function sessionRequest(
  core: Core,
  namespace: string | undefined,
  name: string,
  query: URLSearchParams,
): ExecRequest & AttachRequest {
  const pod = findPod(core, namespace, name);
  requireNode(pod);
  const flags = {
    stdin: isTrue(query.get("stdin")),
    stdout: isTrue(query.get("stdout")),
    stderr: isTrue(query.get("stderr")),
    tty: isTrue(query.get("tty")),
  };
  if (!flags.stdin && !flags.stdout && !flags.stderr) throw badRequest("you must specify at least 1 of stdin, stdout, stderr");
  return { pod, container: chooseContainer(pod, query.get("container")), command: query.getAll("command"), ...flags };
}

export const noStreams = (): ApiError => new ApiError(503, "ServiceUnavailable", "no kubelet is connected to this API server yet");
