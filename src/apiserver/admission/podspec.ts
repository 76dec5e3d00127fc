import { asObject, child, isObject, type JsonObject } from "../object.ts";
import { fill, items } from "./fields.ts";

/** Sets what the author of a pod template left out, in place. */
export function defaultPodSpec(spec: JsonObject): void {
  fill(spec, {
    restartPolicy: "Always",
    dnsPolicy: "ClusterFirst",
    schedulerName: "default-scheduler",
    terminationGracePeriodSeconds: 30,
    securityContext: {},
  });
  // The old name of the field is kept equal, as old clients read it.
  const account = spec.serviceAccountName ?? spec.serviceAccount;
  if (typeof account === "string" && account !== "") {
    spec.serviceAccountName = account;
    spec.serviceAccount = account;
  }
  for (const list of ["initContainers", "containers", "ephemeralContainers"]) {
    for (const container of items(spec, list)) defaultContainer(container, spec.hostNetwork === true);
  }
  for (const volume of items(spec, "volumes")) defaultVolume(volume);
}

function defaultContainer(container: JsonObject, hostNetwork: boolean): void {
  fill(container, {
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    imagePullPolicy: pullPolicy(String(container.image ?? "")),
    resources: {},
  });
  for (const port of items(container, "ports")) {
    fill(port, { protocol: "TCP" });
    if (hostNetwork) fill(port, { hostPort: port.containerPort });
  }
  for (const variable of items(container, "env")) {
    const field = asObject(variable.valueFrom).fieldRef;
    if (isObject(field)) fill(field, { apiVersion: "v1" });
  }
  for (const name of ["livenessProbe", "readinessProbe", "startupProbe"]) {
    const probe = container[name];
    if (isObject(probe)) defaultProbe(probe);
  }
  const lifecycle = asObject(container.lifecycle);
  for (const hook of ["postStart", "preStop"]) defaultHttpGet(asObject(lifecycle[hook]));
}

/** A moving tag is pulled again, a fixed one is not. */
function pullPolicy(image: string): string {
  if (image.includes("@")) return "IfNotPresent";
  const tag = /:([^/:]+)$/.exec(image)?.[1] ?? "latest";
  return tag === "latest" ? "Always" : "IfNotPresent";
}

function defaultProbe(probe: JsonObject): void {
  // A probe with 0 in one of these means "not given", as in the Go types.
  for (const key of ["timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]) if (probe[key] === 0) delete probe[key];
  fill(probe, { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 });
  defaultHttpGet(probe);
  if (isObject(probe.grpc)) fill(probe.grpc, { service: "" });
}

function defaultHttpGet(handler: JsonObject): void {
  if (isObject(handler.httpGet)) fill(handler.httpGet, { path: "/", scheme: "HTTP" });
}

const MODE = 0o644;

function defaultVolume(volume: JsonObject): void {
  if (Object.keys(volume).every((key) => key === "name")) volume.emptyDir = {};
  for (const kind of ["configMap", "secret", "downwardAPI", "projected"]) {
    const source = volume[kind];
    if (!isObject(source)) continue;
    fill(source, { defaultMode: MODE });
    defaultDownward(source);
    for (const part of items(source, "sources")) defaultProjection(part);
  }
  if (isObject(volume.hostPath)) fill(volume.hostPath, { type: "" });
}

function defaultProjection(part: JsonObject): void {
  if (isObject(part.downwardAPI)) defaultDownward(part.downwardAPI);
  if (isObject(part.serviceAccountToken)) fill(part.serviceAccountToken, { expirationSeconds: 3600 });
}

function defaultDownward(source: JsonObject): void {
  for (const item of items(source, "items")) if (isObject(item.fieldRef)) fill(item.fieldRef, { apiVersion: "v1" });
}

/** The template's pod specification, made when it is missing. */
export const templateSpec = (spec: JsonObject): JsonObject => child(child(spec, "template"), "spec");
