import { auditAnnotation, auditModeOf, l7MergeAnnotations, type ParsedPolicy, type PolicyRef, type Rule } from "../rule.ts";
import { defaultSettings, type PolicySettings } from "../settings.ts";
import { readCiliumPolicy } from "./cilium.ts";
import { readClusterNetworkPolicy } from "./clusternp.ts";
import { readNetworkPolicy } from "./knp.ts";
import {
  didYouMean,
  type Fields,
  type Reading,
  readObject,
  readString,
  refuse,
  startReading,
  warn,
  warnPortability,
  warnUnstorable,
} from "./reading.ts";

type Reader = { readonly version: string; readonly namespaced: boolean; read(reading: Reading, object: Fields, policy: PolicyRef): Rule[] };

const readers: Readonly<Record<string, Reader>> = {
  CiliumNetworkPolicy: { version: "cilium.io/v2", namespaced: true, read: readCiliumPolicy },
  CiliumClusterwideNetworkPolicy: { version: "cilium.io/v2", namespaced: false, read: readCiliumPolicy },
  NetworkPolicy: { version: "networking.k8s.io/v1", namespaced: true, read: readNetworkPolicy },
  ClusterNetworkPolicy: { version: "policy.networking.k8s.io/v1alpha2", namespaced: false, read: readClusterNetworkPolicy },
};

/** The kinds of policy objects. */
export const policyKinds: readonly string[] = Object.keys(readers);

/** What is wrong with a policy's `apiVersion`, and what it has to be, where it is something else; undefined where it is right and for what is no policy. */
export function versionProblem(kind: string, version: string): { readonly message: string; readonly needed: string } | undefined {
  const needed = Object.hasOwn(readers, kind) ? readers[kind]?.version : undefined;
  if (needed === undefined || version === needed) return undefined;
  return { message: version === "" ? `is missing: ${needed} is needed` : `found "${version}", ${needed} is needed`, needed };
}

/**
 * Reads a policy object as it comes from Kubernetes. Never throws: whatever is wrong is in `issues`, all of it at once, and a policy with
 * issues has no rules, as one bad spec refuses the whole object. `warnings` tell what is ignored or not portable.
 */
export function parsePolicy(object: unknown, settings: PolicySettings = defaultSettings): ParsedPolicy {
  const reading = startReading(settings);
  const fields = readObject(reading, object, "") ?? {};
  const kind = readString(reading, fields.kind, "kind") ?? "";
  const metadata = readObject(reading, fields.metadata, "metadata") ?? {};
  const name = readString(reading, metadata.name, "metadata.name") ?? "";
  const reader = Object.hasOwn(readers, kind) ? readers[kind] : undefined;
  const given = readString(reading, metadata.namespace, "metadata.namespace") ?? "";
  const namespace = reader?.namespaced === true ? given || "default" : "";
  const ref: PolicyRef = { kind, namespace, name, uid: readString(reading, metadata.uid, "metadata.uid") ?? "" };
  if ((metadata.name ?? "") === "") refuse(reading, "metadata.name", "a policy needs a name");
  checkNames(reading, { kind, name, namespace: given }, reader?.namespaced === false);
  if (reader === undefined) {
    refuse(reading, "kind", `"${kind}" is not a kind of policy; allowed are ${policyKinds.join(", ")}${didYouMean(kind, policyKinds)}`);
  }
  const l7Merge = readL7Merge(reading, metadata);
  const rules = (reader?.read(reading, fields, ref) ?? []).map((rule) => (l7Merge === "restrict" ? { ...rule, l7Merge } : rule));
  const audit = readAudit(reading, metadata);
  return { ref, rules: reading.issues.length > 0 ? [] : rules, issues: reading.issues, warnings: reading.warnings, audit };
}

const nameLabel = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const objectName = new RegExp(`^${nameLabel}(\\.${nameLabel})*$`);
const namespaceName = new RegExp(`^${nameLabel}$`);

/** What Kubernetes has against the names that an object and its namespace may have. */
function checkNames(
  reading: Reading,
  { kind, name, namespace }: Pick<PolicyRef, "kind" | "name" | "namespace">,
  clusterwide: boolean,
): void {
  const form = (signs: string, most: number) => `at most ${most} lower-case letters, digits${signs}, with a letter or digit at both ends`;
  if (name !== "" && (name.length > 253 || !objectName.test(name)))
    warnUnstorable(reading, "metadata.name", `"${name}" is not a name: needed are ${form(', "-" and "."', 253)}`);
  if (namespace === "") return;
  if (clusterwide) warn(reading, "metadata.namespace", `is ignored: a ${kind} has no namespace and is about the pods of all of them`);
  else if (namespace.length > 63 || !namespaceName.test(namespace))
    warnUnstorable(reading, "metadata.namespace", `"${namespace}" is not the name of a namespace: needed are ${form(' and "-"', 63)}`);
}

/** What the policy's application rules mean beside plain allows; its own word wins over the agent's. */
function readL7Merge(reading: Reading, metadata: Fields): PolicySettings["l7Merge"] {
  const annotations = readObject(reading, metadata.annotations, "metadata.annotations");
  const name = l7MergeAnnotations.find((one) => annotations?.[one] !== undefined);
  if (name === undefined) return reading.settings.l7Merge;
  const path = `metadata.annotations["${name}"]`;
  const word = annotations?.[name];
  if (word === "restrict") warnPortability(reading, path, "every Cilium lets a plain allow widen application rules");
  if (word === "restrict" || word === "union") return word;
  refuse(reading, path, `found ${JSON.stringify(word)}, allowed are restrict and union`);
  return "restrict";
}

/** A word that is neither of the two is refused: a policy that its author believes to be in audit mode must not cut anybody off. */
function readAudit(reading: Reading, metadata: Fields): boolean {
  const path = `metadata.annotations["${auditAnnotation}"]`;
  const annotations = readObject(reading, metadata.annotations, "metadata.annotations");
  const audit = auditModeOf(annotations);
  if (audit === undefined)
    refuse(reading, path, `found ${JSON.stringify(annotations?.[auditAnnotation])}, allowed are enabled and disabled`);
  return audit ?? false;
}
