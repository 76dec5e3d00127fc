import { type Cause, cause } from "../errors.ts";
import { asObject, isObject, type JsonObject } from "../object.ts";
import { items } from "./fields.ts";

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const LABEL_HELP =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const RESTART = ["Always", "OnFailure", "Never"];

/** Every rule that a pod specification at `path` breaks. */
export function checkPodSpec(spec: JsonObject, path: string): Cause[] {
  const causes: Cause[] = [];
  if (items(spec, "containers").length === 0) causes.push(cause.required(`${path}.containers`));
  const volumes = checkVolumes(spec, path, causes);
  const names = new Set<string>();
  for (const list of ["initContainers", "containers"]) {
    items(spec, list).forEach((container, index) => {
      const here = `${path}.${list}[${index}]`;
      causes.push(...checkContainer(container, here, volumes));
      const name = String(container.name ?? "");
      if (name && names.has(name)) causes.push(cause.duplicate(`${here}.name`, name));
      names.add(name);
    });
  }
  if (!RESTART.includes(String(spec.restartPolicy))) causes.push(cause.unsupported(`${path}.restartPolicy`, spec.restartPolicy, RESTART));
  const dns = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
  if (!dns.includes(String(spec.dnsPolicy))) causes.push(cause.unsupported(`${path}.dnsPolicy`, spec.dnsPolicy, dns));
  return causes;
}

function checkVolumes(spec: JsonObject, path: string, causes: Cause[]): ReadonlySet<string> {
  const names = new Set<string>();
  items(spec, "volumes").forEach((volume, index) => {
    const name = String(volume.name ?? "");
    if (name && !LABEL.test(name)) causes.push(cause.invalid(`${path}.volumes[${index}].name`, name, LABEL_HELP));
    if (name && names.has(name)) causes.push(cause.duplicate(`${path}.volumes[${index}].name`, name));
    names.add(name);
    const sources = Object.keys(volume).filter((key) => key !== "name");
    if (sources.length > 1)
      causes.push(cause.forbidden(`${path}.volumes[${index}].${sources[1]}`, "may not specify more than 1 volume type"));
  });
  return names;
}

function checkContainer(container: JsonObject, path: string, volumes: ReadonlySet<string>): Cause[] {
  const causes: Cause[] = [];
  const name = String(container.name ?? "");
  if (name && !LABEL.test(name)) causes.push(cause.invalid(`${path}.name`, name, LABEL_HELP));
  if (!container.image) causes.push(cause.required(`${path}.image`));
  causes.push(...items(container, "ports").flatMap((port, index) => checkPort(port, `${path}.ports[${index}]`)));
  items(container, "volumeMounts").forEach((mount, index) => {
    const volume = String(mount.name ?? "");
    if (!volumes.has(volume)) {
      causes.push({
        reason: "FieldValueNotFound",
        field: `${path}.volumeMounts[${index}].name`,
        message: `Not found: ${JSON.stringify(volume)}`,
      });
    }
  });
  const policies = ["Always", "IfNotPresent", "Never"];
  if (!policies.includes(String(container.imagePullPolicy)))
    causes.push(cause.unsupported(`${path}.imagePullPolicy`, container.imagePullPolicy, policies));
  for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"]) {
    const value = container[probe];
    if (isObject(value) && !["httpGet", "tcpSocket", "exec", "grpc"].some((kind) => isObject(value[kind]))) {
      causes.push(cause.required(`${path}.${probe}`, "must specify a handler type"));
    }
  }
  return causes;
}

function checkPort(port: JsonObject, path: string): Cause[] {
  const causes: Cause[] = [];
  for (const key of ["containerPort", "hostPort"]) {
    const value = port[key];
    if (value !== undefined && value !== 0 && !isPort(value))
      causes.push(cause.invalid(`${path}.${key}`, value, "must be between 1 and 65535, inclusive"));
  }
  const protocols = ["SCTP", "TCP", "UDP"];
  if (!protocols.includes(String(port.protocol))) causes.push(cause.unsupported(`${path}.protocol`, port.protocol, protocols));
  return causes;
}

export const isPort = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535;

/** The specification without what may be changed in a running pod. */
export function fixedPart(spec: unknown): JsonObject {
  const { activeDeadlineSeconds, terminationGracePeriodSeconds, tolerations, nodeName, schedulingGates, ephemeralContainers, ...rest } =
    asObject(spec);
  const withoutImage = (container: JsonObject): JsonObject => {
    const { image, resources, ...fixed } = container;
    return fixed;
  };
  return {
    ...rest,
    containers: items(spec, "containers").map(withoutImage),
    initContainers: items(spec, "initContainers").map(withoutImage),
  };
}
