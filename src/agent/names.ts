import type { CookieOrigin, Cookies } from "#datapath/cookies.ts";
import { type Endpoint, podKey } from "#endpoint/endpoint.ts";
import type { Denial, DenialQuestion, EndpointNames, Names, PolicyNames } from "#hubble/names.ts";
import type { Ipcache, IpcacheRow } from "#ipcache/ipcache.ts";
import type { Frontend } from "#loadbalancer/types.ts";
import { type Explanation, explain } from "#policy/explain/explain.ts";
import type { Repository } from "#policy/resolve/repository.ts";
import type { EndpointPolicy } from "#policy/resolve/resolve.ts";
import type { Flow as PolicyFlow } from "#policy/resolve/verdict.ts";
import { policyKey } from "#policy/rule.ts";
import type { SelectorCache } from "#policy/selectors/selector-cache.ts";
import { isAllowedByName, patchFor } from "#policy/world/patch.ts";
import type { Table } from "#statedb/table.ts";
import { parseAddress } from "#types/addr.ts";
import { NumericIdentity } from "#types/identity.ts";
import { createBudget } from "./budget.ts";
import type { DnsNames } from "./dns-names.ts";
import type { IdentityRow } from "./identities.ts";
import type { PodRow } from "./kubernetes.ts";
import type { PolicyRow } from "./policies.ts";
import type { PolicyController } from "./policy-controller.ts";

export interface NamesDeps {
  readonly endpoints: Table<Endpoint>;
  readonly identities: Table<IdentityRow>;
  readonly pods: Table<PodRow>;
  readonly policies: Table<PolicyRow>;
  readonly frontends: Table<Frontend>;
  readonly ipcache: Ipcache;
  readonly cookies: Cookies;
  readonly controller: PolicyController;
  readonly dnsNames: DnsNames;
  readonly interfaceName: (ifindex: number) => string | undefined;
}

export interface NamesConfig {
  readonly nodeName: string;
  readonly nodeLabels: readonly string[];
  readonly clusterName: string;
}

const NONE: readonly never[] = [];

/** Rows do not change, they are replaced: what `make` says of one, and of what stands beside it, is made once. */
function perRow<Row extends object, Beside>(
  make: (row: Row, beside: Beside) => EndpointNames,
): (row: Row, beside: Beside) => EndpointNames {
  const made = new WeakMap<Row, { readonly beside: Beside; readonly names: EndpointNames }>();
  return (row, beside) => {
    const kept = made.get(row);
    if (kept?.beside === beside) return kept.names;
    const names = make(row, beside);
    made.set(row, { beside, names });
    return names;
  };
}

/** What Hubble asks of this node, answered from tables. */
export function createNames(deps: NamesDeps, config: NamesConfig): Names {
  const { endpoints, identities, ipcache, cookies, controller } = deps;
  const labelsOf = (identity: number) => identities.get(identity)?.labels.texts ?? NONE;
  const ofEndpoint = perRow(
    (row: Endpoint, workloads: EndpointNames["workloads"]): EndpointNames => ({
      id: row.id,
      identity: row.identity ?? 0,
      namespace: row.pod.namespace,
      podName: row.pod.name,
      labels: row.labels.texts,
      workloads,
      clusterName: config.clusterName,
    }),
  );
  const ofRow = perRow(
    (row: IpcacheRow, labels: readonly string[]): EndpointNames => ({
      id: 0,
      identity: row.identity,
      namespace: row.pod?.namespace ?? "",
      podName: row.pod?.name ?? "",
      labels,
      workloads: [],
      clusterName: config.clusterName,
    }),
  );
  const named = (row: Endpoint) => ofEndpoint(row, deps.pods.get(podKey(row.pod))?.workloads ?? NONE);
  const rowOf = (ip: string) => {
    const address = parseAddress(ip);
    return address && ipcache.lookup(address);
  };
  const patching = createBudget(PATCHING, () => performance.now());
  const policyNames = (origin: CookieOrigin): PolicyNames =>
    namesOfOrigin(origin, deps.policies.get(keyOfOrigin(origin)), controller.repository.revision);
  return {
    nodeName: config.clusterName === "default" ? config.nodeName : `${config.clusterName}/${config.nodeName}`,
    nodeLabels: config.nodeLabels,
    endpointByIp(ip) {
      const [own] = endpoints.by("ip", ip);
      if (own) return named(own);
      const row = rowOf(ip);
      return row?.pod || row?.source === "node" ? ofRow(row, labelsOf(row.identity)) : undefined;
    },
    endpointById(id) {
      const row = endpoints.get(id);
      return row && named(row);
    },
    identityLabels: labelsOf,
    identityByIp: (ip) => rowOf(ip)?.identity,
    serviceByAddress(ip, port) {
      const named = deps.frontends.by("ip", ip).filter(({ type }) => type !== "HostPort" && type !== "LocalRedirect");
      const frontend = named.find(({ address }) => port === 0 || address.port === port);
      return frontend?.service;
    },
    dnsNames: deps.dnsNames.namesOf,
    learnedName: deps.dnsNames.learnedName,
    interfaceName: deps.interfaceName,
    policiesOf: (cookie) => cookies.origins(cookie).map(policyNames),
    policyRevision: () => controller.repository.revision,
    explainDenial: (question) => explainDenial(deps, question, policyNames, patching),
  };
}

/** Share of the agent's time for trying patches: a port scan asks for thousands of them. */
const PATCHING = 0.05;

/** The policy engine's explanation, as Hubble shows it: of what is enforced, or of what would be if nothing were audited. */
function explainDenial(
  deps: NamesDeps,
  question: DenialQuestion,
  policyNames: (origin: CookieOrigin) => PolicyNames,
  patching: ReturnType<typeof createBudget>,
): Denial | undefined {
  const endpoint = deps.endpoints.get(question.endpointId);
  if (!endpoint) return undefined;
  const { repository, cache } = deps.controller;
  const { direction, remoteIdentity, protocol, port, name } = question;
  const flow = { direction, identity: NumericIdentity(remoteIdentity), protocol, port };
  const enforced = deps.controller.policyOf(endpoint);
  const audited = deps.controller.auditedPolicyOf(endpoint);
  const ofEnforced = denied(enforced && explain(repository.enforced(), cache, enforced, flow));
  const told = ofEnforced ?? denied(audited && explain(repository, cache, audited, flow));
  if (told === undefined) return undefined;
  const policy = ofEnforced === undefined ? audited : enforced;
  const rules = policy === enforced ? repository.enforced() : repository;
  const fix = told.decidedBy.length === 0 && policy ? patching(() => fixOf(rules, cache, policy, flow, name)) : undefined;
  const origins: readonly CookieOrigin[] = told.decidedBy.length > 0 ? told.decidedBy : told.defaultDenyBy;
  return {
    policies: origins.map(policyNames),
    lines: told.lines,
    nearest: told.nearest.map(({ origin, reasons }) => ({ rule: policyNames(origin), reasons })),
    ...(fix === undefined ? {} : { fix }),
  };
}

/** What would let through what is denied by default. */
function fixOf(rules: Repository, cache: SelectorCache, policy: EndpointPolicy, flow: PolicyFlow, name: string | undefined) {
  if (name !== undefined && isAllowedByName(policy, cache, flow, name))
    return `a rule allows ${name}: ask DNS for it again, or raise tofqdns-min-ttl if the application keeps addresses for longer`;
  const patch = patchFor(rules, cache, policy.subject, flow, name);
  // To be pasted into a shell as it is: JSON has no single quotes, and names and labels neither. Not applied but created: a policy that got
  // the same name in the meantime is not replaced.
  return patch && `kubectl create -f - <<< '${JSON.stringify(patch)}'`;
}

function denied(told: Explanation | undefined): Explanation | undefined {
  return told?.verdict.verdict === "denied" ? told : undefined;
}

function keyOfOrigin({ kind, namespace, name }: CookieOrigin): string {
  return policyKey({ kind, namespace, name });
}

const DERIVED = "k8s:io.cilium.k8s.policy";

function namesOfOrigin(origin: CookieOrigin, row: PolicyRow | undefined, revision: number): PolicyNames {
  const { kind, namespace, name } = origin;
  const uid = row?.object.metadata.uid;
  const labels = [
    `${DERIVED}.derived-from=${kind}`,
    `${DERIVED}.name=${name}`,
    ...(namespace ? [`${DERIVED}.namespace=${namespace}`] : []),
    ...(uid ? [`${DERIVED}.uid=${uid}`] : []),
  ];
  const rule = "section" in origin ? { section: origin.section, index: origin.index, spec: origin.spec } : {};
  return { kind, namespace, name, labels, revision, ...rule };
}
