import { type Endpoint, subjectKey } from "#endpoint/endpoint.ts";
import { auditedKey, createDeltaLog, type SubjectPolicy } from "#endpoint/subject-policy.ts";
import { labelSource } from "#labels/label.ts";
import { createRepository, type Repository, type ServiceView } from "#policy/resolve/repository.ts";
import { applyIdentityChanges, type EndpointPolicy, resolveEndpoint } from "#policy/resolve/resolve.ts";
import { type ParsedPolicy, policyKey } from "#policy/rule.ts";
import {
  createSelectorCache,
  type IdentityChange,
  type SelectorCache,
  type SelectorUser,
  usersOf,
} from "#policy/selectors/selector-cache.ts";
import type { PolicySettings } from "#policy/settings.ts";
import type { Step } from "#reconciler/pipeline.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Change } from "#statedb/changes.ts";
import type { Database } from "#statedb/database.ts";
import type { Table, WritableTable } from "#statedb/table.ts";
import type { IdentityRow } from "./identities.ts";
import type { PolicyRow } from "./policies.ts";

export interface PolicyController extends Step {
  readonly repository: Repository;
  readonly cache: SelectorCache;
  /** The policy the endpoint has; undefined while it has none. */
  policyOf(endpoint: Pick<Endpoint, "identity" | "namedPorts">): EndpointPolicy | undefined;
  /** The policy it would have if nothing were audited; undefined when that is the same. */
  auditedPolicyOf(endpoint: Pick<Endpoint, "identity" | "namedPorts">): EndpointPolicy | undefined;
  /** Enforce where rules select an endpoint, everywhere, or nowhere; all subjects are computed again. */
  setEnforcement(enforcement: PolicySettings["enforcement"]): void;
  /** Services for toServices rules, asked for when there are such rules; then all subjects are computed again. */
  setServices(views: () => readonly ServiceView[]): void;
  /** From now on policies are computed: everything has been listed once. */
  start(): void;
}

export interface PolicyControllerDeps {
  readonly db: Database;
  readonly log: Logger;
  readonly policies: Table<PolicyRow>;
  readonly identities: Table<IdentityRow>;
  readonly endpoints: Table<Endpoint>;
  readonly subjects: WritableTable<SubjectPolicy>;
  /** Told the rules after each change of theirs, before any policy is computed: prefixes need identities. */
  readonly onRules: (repository: Repository) => void;
}

interface Subject {
  readonly key: string;
  readonly endpoint: Endpoint;
  readonly users: Set<number>;
  stale: boolean;
}

/**
 * Rules × identities × endpoints → one policy for each distinct subject. A change of rules computes only the subjects that
 * the old or the new rules select; a change of identities updates the policies in place.
 */
export function createPolicyController(deps: PolicyControllerDeps, settings: PolicySettings): PolicyController {
  const { db, subjects } = deps;
  const policyChanges = deps.policies.observe();
  const identityChanges = deps.identities.observe();
  const endpointChanges = deps.endpoints.observe();
  const known = new Map<string, Subject>();
  const keyOf = new Map<number, string>();
  const cache = createSelectorCache();
  let repository = createRepository(settings);
  let services: (() => readonly ServiceView[]) | undefined;
  let started = false;
  let wake = () => {};

  const resolve = (subject: Subject) => {
    const { identity, labels, namedPorts } = subject.endpoint;
    if (identity === undefined) return;
    const view = { identity, labels, namedPorts: [...namedPorts] };
    put(subject.key, resolveEndpoint(repository.enforced(), cache, view));
    const isAudited = repository.select(labels, identity).some(({ policy }) => repository.policies.get(policyKey(policy))?.audit);
    if (isAudited) put(auditedKey(subject.key), resolveEndpoint(repository, cache, view));
    else drop(auditedKey(subject.key));
    subject.stale = false;
  };
  const put = (key: string, policy: EndpointPolicy) => {
    const old = subjects.get(key);
    const version = (old?.version ?? 0) + 1;
    const base = { key, revision: repository.revision, version, log: createDeltaLog(version) };
    if (policy.error !== undefined) {
      const { identity } = policy.subject;
      deps.log.error("rules cannot be merged, the last good policy stays in force", { identity, error: policy.error });
      policy.release();
      subjects.set({ ...base, policy: old?.policy, error: policy.error });
    } else {
      old?.policy?.release();
      subjects.set({ ...base, policy, error: undefined });
    }
  };
  const drop = (key: string) => {
    subjects.get(key)?.policy?.release();
    subjects.delete(key);
  };
  const rowsOf = ({ key }: Subject) => [subjects.get(key), subjects.get(auditedKey(key))].filter((row) => row !== undefined);
  const takeRules = () => {
    const changes = policyChanges.take();
    const touched = changes.flatMap(({ row, previous }) => [row?.parsed, previous?.parsed]).filter((parsed) => parsed !== undefined);
    const gone = changes.filter(({ row }) => row === undefined).map(({ key }) => String(key));
    const come = changes.map(({ row }) => row?.parsed).filter((parsed) => parsed !== undefined);
    if (gone.length > 0) repository = repository.without(...gone);
    if (come.length > 0) repository = repository.with(...come);
    // Services count only for rules that name some; most clusters have none, and services change all the time.
    const needed = repository.usesServices();
    const newServices = needed ? services : undefined;
    if (newServices) {
      repository = repository.withServices(newServices());
      services = undefined;
    }
    if (changes.length === 0 && !newServices) return;
    deps.onRules(repository);
    markStale(touched, newServices !== undefined);
  };
  const markStale = (touched: readonly ParsedPolicy[], all: boolean) => {
    for (const subject of known.values()) {
      const { labels, identity } = subject.endpoint;
      if (identity === undefined || subject.stale) continue;
      subject.stale = all || touched.some((parsed) => repository.concerns(parsed, labels, identity));
      if (subject.stale) continue;
      for (const row of rowsOf(subject)) if (row.revision !== repository.revision) subjects.set({ ...row, revision: repository.revision });
    }
  };
  const takeIdentities = () => {
    const changes = identityChanges.take();
    if (changes.length === 0) return;
    const moved = cache.update(identityUpdate(changes));
    const touched = usersOf(moved);
    if (touched.size === 0) return;
    for (const subject of known.values()) if (!subject.stale) follow(subject, moved, touched);
  };
  /** A policy that stays in force because the present rules can not be merged follows the identities, too. */
  const follow = (subject: Subject, moved: IdentityChange[], touched: ReadonlySet<SelectorUser>) => {
    for (const row of rowsOf(subject)) {
      if (!row.policy || !touched.has(row.policy)) continue;
      const delta = applyIdentityChanges(row.policy, cache, moved);
      const version = row.version + 1;
      row.log.push(version, delta);
      subjects.set({ ...row, version });
    }
  };
  const takeEndpoints = () => {
    for (const { key, row } of endpointChanges.take()) {
      const id = Number(key);
      const wanted = row?.identity === undefined ? undefined : subjectKey(row);
      const had = keyOf.get(id);
      if (wanted !== had && had !== undefined) leave(id, had);
      if (row && wanted !== undefined && wanted !== had) join(row, wanted);
    }
  };
  const join = (endpoint: Endpoint, key: string) => {
    keyOf.set(endpoint.id, key);
    const subject = known.get(key) ?? { key, endpoint, users: new Set<number>(), stale: true };
    subject.users.add(endpoint.id);
    known.set(key, subject);
  };
  const leave = (id: number, key: string) => {
    keyOf.delete(id);
    const subject = known.get(key);
    subject?.users.delete(id);
    if (subject?.users.size !== 0) return;
    known.delete(key);
    drop(key);
    drop(auditedKey(key));
  };

  return {
    name: "policy",
    cache,
    get repository() {
      return repository;
    },
    onWork(fn) {
      wake = fn;
      policyChanges.onReady(fn);
      identityChanges.onReady(fn);
      endpointChanges.onReady(fn);
    },
    start() {
      started = true;
      wake();
    },
    setEnforcement(enforcement) {
      repository = repository.withSettings({ ...repository.settings, enforcement });
      for (const subject of known.values()) subject.stale = true;
      wake();
    },
    setServices(views) {
      services = views;
      wake();
    },
    policyOf(endpoint) {
      return endpoint.identity === undefined ? undefined : subjects.get(subjectKey(endpoint))?.policy;
    },
    auditedPolicyOf(endpoint) {
      return endpoint.identity === undefined ? undefined : subjects.get(auditedKey(subjectKey(endpoint)))?.policy;
    },
    run() {
      if (!started) return;
      // Two transactions: identities made for new rules must be seen before any policy is computed with these rules.
      db.write(takeRules);
      db.write(() => {
        takeIdentities();
        takeEndpoints();
        for (const subject of known.values()) if (subject.stale) resolve(subject);
      });
    },
  };
}

function identityUpdate(changes: readonly Change<IdentityRow>[]) {
  const entry = ({ id, labels, namedPorts }: IdentityRow) => ({
    id,
    labels,
    namedPorts: [...namedPorts],
    beside: labels.has(labelSource.fqdn),
  });
  const add = changes.flatMap(({ row }) => (row ? [entry(row)] : []));
  const remove = changes.flatMap(({ row, previous }) => (row === undefined && previous ? [previous.id] : []));
  return { add, remove };
}
