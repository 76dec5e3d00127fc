import { labelKey, labelSource } from "#labels/label.ts";
import { formatRequirement, type Operator, type Requirement, requirement, type Selector, selectorOf } from "#labels/selector.ts";
import { objectOf } from "./fields.ts";
import {
  checkFields,
  didYouMean,
  type Fields,
  type Reading,
  readList,
  readObject,
  readObjects,
  readString,
  readStrings,
  refuse,
  warn,
} from "./reading.ts";

const operators: readonly Operator[] = ["In", "NotIn", "Exists", "DoesNotExist"];
const namePattern = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const prefixPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** Where a selector stands, which decides what it implies. */
export type SelectorScope = {
  /** The policy's namespace; empty for cluster-wide kinds. */
  readonly namespace: string;
  readonly clusterName: string;
  /** True when the subject is the init identity: cluster-wide, its peers need not have a namespace. */
  readonly forInit: boolean;
};

/** What is wrong with a label key that may have a source (`k8s:app`); undefined when nothing is. */
export function keyProblem(text: string): string | undefined {
  const parts = text.split(":");
  if (parts.length > 2) return `"${text}" has more than one ":"; a key may have one source before it, as in k8s:app`;
  if (parts.length === 2 && !/^[A-Za-z0-9]+$/.test(parts[0] ?? "")) return `"${text}" has a source that is not letters and digits`;
  const key = parts[parts.length - 1] ?? "";
  const slash = key.indexOf("/");
  const name = slash < 0 ? key : key.slice(slash + 1);
  if (slash >= 0) {
    const prefix = key.slice(0, slash);
    if (prefix === "") return `"${text}" has nothing before "/"`;
    if (prefix.length > 253 || !prefixPattern.test(prefix))
      return `"${text}": the part before "/" must be a lower-case domain name of at most 253 characters`;
  }
  if (name === "") return `"${text}" is empty${key === text ? "" : " after its source"}`;
  if (name.length > 63) return `"${text}": a name may have 63 characters, this one has ${name.length}`;
  if (!namePattern.test(name)) return `"${text}" must be letters, digits, "-", "_" and ".", and begin and end with a letter or digit`;
  return undefined;
}

function valueProblem(value: string): string | undefined {
  if (value.length > 63) return `the value "${value.slice(0, 20)}…" has ${value.length} characters, at most 63 are allowed`;
  if (value === "" || namePattern.test(value)) return undefined;
  return `the value "${value}" must be empty or letters, digits, "-", "_" and ".", and begin and end with a letter or digit`;
}

/** Reads one list entry of `matchExpressions`. */
function readExpression(reading: Reading, one: Fields, path: string, keyPrefix: string): Requirement | undefined {
  checkFields(reading, one, path, ["key", "operator", "values"]);
  const key = readString(reading, one.key, `${path}.key`) ?? "";
  const operator = readString(reading, one.operator, `${path}.operator`) ?? "";
  const values = readStrings(reading, one.values, `${path}.values`) ?? [];
  const bad = keyProblem(key);
  if (bad !== undefined) refuse(reading, `${path}.key`, bad);
  if (!(operators as readonly string[]).includes(operator)) {
    refuse(reading, `${path}.operator`, `"${operator}" is not one of ${operators.join(", ")}${didYouMean(operator, operators)}`);
    return undefined;
  }
  const listed = operator === "In" || operator === "NotIn";
  if (listed && values.length === 0) refuse(reading, `${path}.values`, `${operator} needs at least one value`);
  if (!listed && values.length > 0) refuse(reading, `${path}.values`, `${operator} takes no values, found ${values.length}`);
  for (const [i, value] of values.entries()) {
    const problem = valueProblem(value);
    if (problem !== undefined) refuse(reading, `${path}.values[${i}]`, problem);
  }
  return requirement(keyPrefix === "" || key.includes(":") ? key : `${keyPrefix}:${key}`, operator as Operator, values);
}

/** Reads a Kubernetes label selector as requirements; keys without a source get `keyPrefix` when it is given. */
export function readRequirements(reading: Reading, value: unknown, path: string, keyPrefix = ""): Requirement[] {
  const fields = readObject(reading, value, path);
  if (fields === undefined) return [];
  checkFields(reading, fields, path, ["matchLabels", "matchExpressions"]);
  const requirements: Requirement[] = [];
  const labels = readObject(reading, fields.matchLabels, `${path}.matchLabels`) ?? {};
  for (const [name, raw] of Object.entries(labels)) {
    const at = `${path}.matchLabels["${name}"]`;
    const text = readString(reading, raw, at) ?? "";
    for (const problem of [keyProblem(name), valueProblem(text)]) if (problem !== undefined) refuse(reading, at, problem);
    requirements.push(requirement(keyPrefix === "" || name.includes(":") ? name : `${keyPrefix}:${name}`, "In", [text]));
  }
  readObjects(reading, fields.matchExpressions, `${path}.matchExpressions`)?.forEach((one, i) => {
    const read = readExpression(reading, one, `${path}.matchExpressions[${i}]`, keyPrefix);
    if (read !== undefined) requirements.push(read);
  });
  return requirements;
}

const k8sOrAny = (source: string) => source === "k8s" || source === "any";

/** The requirement that Cilium's own label of this key has this value. */
function ownLabel(key: string, value: string): Requirement {
  return { source: labelSource.k8s, key, operator: "In", values: [value] };
}

/** The namespace that a peer selector implies: the policy's own, or cluster-wide any, unless it says something about namespaces itself. */
function impliedNamespace(requirements: readonly Requirement[], { namespace, forInit }: SelectorScope): Requirement[] {
  if (requirements.some(({ source, key }) => k8sOrAny(source) && key === labelKey.namespace)) return [];
  if (namespace === "") return forInit ? [] : [{ source: labelSource.k8s, key: labelKey.namespace, operator: "Exists", values: [] }];
  const byLabels = requirements.some(({ source, key }) => k8sOrAny(source) && key.startsWith(`${labelKey.namespaceLabels}.`));
  return byLabels ? [] : [ownLabel(labelKey.namespace, namespace)];
}

/** The requirements, and the local cluster unless they say something about clusters. */
export function withCluster(requirements: readonly Requirement[], clusterName: string): Requirement[] {
  const names = requirements.some(({ source, key }) => k8sOrAny(source) && key === labelKey.cluster);
  return names ? [...requirements] : [...requirements, ownLabel(labelKey.cluster, clusterName)];
}

/** The requirements of a peer selector with what they imply: a namespace and the local cluster, but for reserved peers. */
export function withImplied(requirements: readonly Requirement[], scope: SelectorScope): Requirement[] {
  if (requirements.some((one) => one.source === "reserved")) return [...requirements];
  return withCluster([...requirements, ...impliedNamespace(requirements, scope)], scope.clusterName);
}

/** Reads the subject of a Cilium policy; in a namespace it means that namespace's endpoints, whatever it says itself. */
export function readSubject(reading: Reading, value: unknown, path: string, namespace: string): { selector: Selector; forInit: boolean } {
  const read = readRequirements(reading, value, path);
  const forInit = read.some(({ source, key }) => source === "reserved" && key === "init");
  if (namespace === "") return { selector: selectorOf(read), forInit };
  const name = `k8s:${labelKey.namespace}`;
  // matchLabels with the k8s key is overwritten; every other form of it is one more condition.
  const labels = objectOf(objectOf(value).matchLabels);
  const overwritten = Object.hasOwn(labels, name);
  warnForeign(reading, read, path, namespace, overwritten);
  const kept = overwritten
    ? read.filter(
        ({ source, key, operator }, i) =>
          !(i < Object.keys(labels).length && source === "k8s" && key === labelKey.namespace && operator === "In"),
      )
    : read;
  return { selector: selectorOf([...kept, ownLabel(labelKey.namespace, namespace)]), forInit };
}

/** A policy in a namespace that means to select pods of another. */
function warnForeign(reading: Reading, read: readonly Requirement[], path: string, namespace: string, overwritten: boolean): void {
  for (const one of read) {
    const names = one.key === labelKey.namespace || one.key === `${labelKey.namespaceLabels}.kubernetes.io/metadata.name`;
    if (!names || !k8sOrAny(one.source) || meets(one, namespace)) continue;
    const written = `${formatRequirement(one)}: a policy in namespace ${namespace} selects pods of its own namespace only`;
    const replaced = overwritten && one.key === labelKey.namespace && one.source === "k8s" && one.operator === "In";
    warn(reading, path, replaced ? `${written}, so this is ignored, as in Cilium` : `${written}, so this selects nobody, as in Cilium`);
  }
}

/** Whether a requirement on the name of the namespace holds there. */
function meets({ operator, values }: Requirement, namespace: string): boolean {
  if (operator === "In" || operator === "NotIn") return values.includes(namespace) === (operator === "In");
  return operator === "Exists";
}

/** Whether the value is there and is a list, so that an empty list can be told from none. */
export function isPresentList(reading: Reading, fields: Fields, name: string, path: string): boolean {
  return readList({ ...reading, issues: [] }, fields[name], `${path}.${name}`) !== undefined;
}
