import { PolicyAudit } from "#datapath/gen/enums.ts";
import type { PolicyKey } from "#datapath/gen/structs.ts";
import { auditedKey, type PolicyDelta, type SubjectPolicy, subjectOfKey } from "#endpoint/subject-policy.ts";
import type { PolicyMapEntry } from "#policy/resolve/resolve.ts";
import type { SyncTarget } from "#reconciler/reconciler.ts";
import { CodedError, errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Cookies } from "../cookies.ts";
import type { Expedite } from "../expedite.ts";
import { type Entry, PolicyEntries } from "./policy-entries.ts";
import { type ProxyPorts, policyEntryOf, policyKeyOf } from "./policy-entry.ts";
import {
  auditIdOf,
  type EndpointConfig,
  endpointOfPolicyId,
  type InnerMap,
  isPointed,
  type Pointed,
  type PolicyKernel,
  pointEndpoint,
  sameConfig,
  unpoint,
} from "./policy-pointer.ts";

/** A policy does not fit into a map: its endpoints are locked down, nothing is allowed in part. */
export class PolicyMapFull extends CodedError {}

/** An endpoint came before its policy: what it had stays, a new one passes nothing. */
export class PolicyNotReady extends CodedError {}

/** What an endpoint has in the kernel. */
export interface RealizedPolicy {
  readonly revision: number;
  readonly entries: number;
  /** Why everything is denied, when it is. */
  readonly locked: string | undefined;
}

export interface PolicyMaps extends Disposable {
  /** For the reconciler of the `policies` table. Its prune repairs what others changed in the kernel. */
  readonly target: SyncTarget<SubjectPolicy>;
  /** Gives the endpoint the policy of a subject; idempotent. Throws `PolicyNotReady` while the subject is not realized. */
  attach(endpoint: { readonly id: number; readonly subject: string; readonly audit: boolean }): void;
  detach(endpointId: number): void;
  /** Detaches every endpoint that is not in the set. */
  prune(endpointIds: ReadonlySet<number>): void;
  realized(endpointId: number): RealizedPolicy | undefined;
  /** Number of inner maps: one a distinct subject. */
  readonly maps: number;
  /** The cookies that a packet can meet now. */
  cookies(): Set<number>;
}

interface Realized {
  /** Nobody computes it any more; it is kept for endpoints that have not been given their next one yet. */
  retired?: boolean;
  inner: InnerMap;
  entries: PolicyEntries;
  row: SubjectPolicy;
  locked: string | undefined;
}

interface Attached {
  readonly subject: string;
  readonly audit: boolean;
  /** Undefined while the kernel does not have what it should. */
  pointed: Pointed | undefined;
  /** The same for what would be if nothing were audited; undefined when that is no other policy. */
  audited: Pointed | undefined;
}

export interface PolicyMapsOptions {
  readonly maxEntries: number;
  readonly proxyPorts: ProxyPorts;
}

export interface PolicyMapsDeps {
  readonly kernel: PolicyKernel;
  readonly cookies: Cookies;
  readonly log: Logger;
  readonly expedite: Expedite;
}

/**
 * The policy maps: one inner map a subject, shared by its endpoints. A new policy is written into a new map in full and
 * switched in by one pointer; only identities that came or went alter a map in use. Nothing is ever allowed in part.
 */
export function createPolicyMaps(deps: PolicyMapsDeps, options: PolicyMapsOptions): PolicyMaps {
  return new KernelPolicyMaps(deps, options);
}

class KernelPolicyMaps implements PolicyMaps {
  readonly target: SyncTarget<SubjectPolicy>;
  readonly #deps: PolicyMapsDeps;
  readonly #options: PolicyMapsOptions;
  readonly #subjects = new Map<string, Realized>();
  readonly #attached = new Map<number, Attached>();
  /** An empty map: nothing is allowed. */
  readonly #lockdown: InnerMap;

  constructor(deps: PolicyMapsDeps, options: PolicyMapsOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#lockdown = deps.kernel.outer.createInner();
    this.target = { update: (row) => this.#update(row), remove: (row) => this.#retire(row.key), prune: () => this.#verify() };
  }

  get maps(): number {
    return new Set([...this.#subjects.values()].map(({ inner }) => inner)).size;
  }

  attach({ id, subject, audit }: { readonly id: number; readonly subject: string; readonly audit: boolean }): void {
    const old = this.#attached.get(id);
    if (old?.subject === subject && old.audit === audit) {
      if (old.pointed === undefined) this.#point(id, old);
      return;
    }
    if (!this.#subjects.has(subject)) throw new PolicyNotReady("policy-not-ready", `the policy of endpoint ${id} is not in the kernel yet`);
    const item: Attached = { subject, audit, pointed: undefined, audited: undefined };
    this.#attached.set(id, item);
    this.#point(id, item);
    if (old && old.subject !== subject) this.#forget(old.subject);
  }

  detach(id: number): void {
    const { kernel } = this.#deps;
    const old = this.#attached.get(id);
    this.#attached.delete(id);
    unpoint(this.#deps, id);
    if (old?.audited || kernel.outer.innerId(auditIdOf(id)) !== undefined) unpoint(this.#deps, auditIdOf(id));
    if (old) this.#forget(old.subject);
  }

  prune(endpointIds: ReadonlySet<number>): void {
    const { kernel } = this.#deps;
    for (const id of new Set([...[...kernel.outer.keys()].map(endpointOfPolicyId), ...this.#attached.keys()])) {
      if (!endpointIds.has(id)) this.detach(id);
    }
  }

  realized(id: number): RealizedPolicy | undefined {
    const item = this.#attached.get(id);
    if (!item) return undefined;
    const subject = this.#subjects.get(item.subject);
    return {
      revision: subject?.row.revision ?? 0,
      entries: subject?.entries.size ?? 0,
      locked: subject ? subject.locked : "no policy yet",
    };
  }

  [Symbol.dispose](): void {
    for (const { inner } of this.#subjects.values()) if (inner !== this.#lockdown) inner.close();
    this.#lockdown.close();
  }

  cookies(): Set<number> {
    const found = new Set<number>();
    for (const subject of this.#subjects.values()) {
      for (const { value } of subject.entries.values()) found.add(value.cookie);
      const { ingressDefaultCookie, egressDefaultCookie } = configOf(subject, 0, this.#deps.cookies);
      found.add(ingressDefaultCookie).add(egressDefaultCookie);
    }
    return found;
  }

  #update(row: SubjectPolicy): void {
    const realized = this.#subjects.get(row.key);
    if (!row.policy) {
      this.#lock(row, row.error ?? "there is no policy");
      return;
    }
    const isKnown = realized !== undefined && !realized.locked && !realized.retired;
    if (!isKnown || !this.#follow(realized, row)) {
      const entries = new PolicyEntries(row.policy.entries().map(this.#toEntry));
      if (isKnown && realized.entries.equals(entries)) this.#keep(realized, row);
      else this.#rebuild(row, entries);
    }
    this.#settle(row.key);
  }

  /** True when the row differed from what is realized by a few identities only, and does no longer. */
  #follow(realized: Realized, row: SubjectPolicy): boolean {
    const deltas = row.log.since(realized.row.version);
    if (!deltas) return false;
    try {
      if (!applyDeltas(realized, deltas, this.#toEntry, this.#options.maxEntries)) return false;
    } catch (thrown) {
      this.#lock(row, errorMessage(thrown));
      throw thrown;
    }
    realized.row = row;
    if (deltas.some(({ removed }) => removed.length > 0)) this.#pointAll(row.key);
    return true;
  }

  /** The map stays; what surrounds it may have changed. */
  #keep(realized: Realized, row: SubjectPolicy): void {
    const { cookies } = this.#deps;
    const same = sameConfig(configOf(realized, 0, cookies), configOf({ ...realized, row }, 0, cookies));
    realized.row = row;
    if (!same) this.#pointAll(row.key);
  }

  #rebuild(row: SubjectPolicy, entries: PolicyEntries): void {
    try {
      this.#switchIn({ inner: this.#fill(entries), entries, row, locked: undefined });
    } catch (thrown) {
      this.#lock(row, errorMessage(thrown));
      throw thrown;
    }
  }

  #fill(entries: PolicyEntries): InnerMap {
    const { maxEntries } = this.#options;
    if (entries.size > maxEntries) throw new PolicyMapFull("policy-map-full", `${entries.size} entries do not fit into ${maxEntries}`);
    const inner = this.#deps.kernel.outer.createInner();
    try {
      inner.setMany([...entries.values()].map(({ key, value }) => [key, value] as const));
    } catch (thrown) {
      inner.close();
      throw thrown;
    }
    return inner;
  }

  #lock(row: SubjectPolicy, reason: string): void {
    if (this.#subjects.get(row.key)?.locked !== reason) {
      this.#deps.log.error("policy not realizable, its endpoints are locked down", { subject: row.key, reason });
    }
    this.#switchIn({ inner: this.#lockdown, entries: new PolicyEntries(), row, locked: reason });
  }

  #switchIn(next: Realized): void {
    const { key } = next.row;
    const old = this.#subjects.get(key);
    this.#subjects.set(key, next);
    this.#pointAll(key);
    if (old && old.inner !== next.inner && old.inner !== this.#lockdown) old.inner.close();
  }

  #pointAll(key: string): void {
    const subject = subjectOfKey(key);
    for (const item of this.#attached.values()) if (item.subject === subject) item.pointed = undefined;
    this.#settle(subject);
  }

  /** Points those endpoints of a subject that are not, be it that an earlier try failed. */
  #settle(subject: string): void {
    for (const [id, item] of this.#attached) if (item.subject === subject && item.pointed === undefined) this.#point(id, item);
  }

  /** What would be if nothing were audited is pointed at first, and taken away last: the configuration says whether to look there. */
  #point(id: number, item: Attached): void {
    const { kernel, cookies } = this.#deps;
    const subject = this.#subjects.get(item.subject);
    const audited = this.#auditedOf(item);
    item.audited = audited && pointEndpoint(this.#deps, auditIdOf(id), audited.inner, configOf(audited, 0, cookies));
    item.pointed = pointEndpoint(this.#deps, id, subject?.inner ?? this.#lockdown, configOf(subject, this.#auditOf(item), cookies));
    if (!audited && kernel.outer.innerId(auditIdOf(id)) !== undefined) unpoint(this.#deps, auditIdOf(id));
  }

  /** The subject's policy as it would be if nothing were audited; undefined when it is the same. */
  #auditedOf({ subject }: Attached): Realized | undefined {
    const audited = this.#subjects.get(auditedKey(subject));
    return audited && !audited.retired && !audited.locked ? audited : undefined;
  }

  #auditOf(item: Attached): number {
    if (item.audit) return PolicyAudit.ALL;
    return this.#auditedOf(item) ? PolicyAudit.SECOND : 0;
  }

  #isPointed(id: number, item: Attached): boolean {
    const { kernel, cookies } = this.#deps;
    if (item.pointed === undefined) return true;
    const audited = this.#auditedOf(item);
    const isWhole = !audited || (item.audited && isPointed(kernel, auditIdOf(id), item.audited, configOf(audited, 0, cookies)));
    return (
      isWhole === true && isPointed(kernel, id, item.pointed, configOf(this.#subjects.get(item.subject), this.#auditOf(item), cookies))
    );
  }

  /** Repairs what others changed in the kernel: the content of the maps, the pointers to them and the configurations. */
  #verify(): void {
    const { log } = this.#deps;
    for (const [key, realized] of this.#subjects) {
      if (realized.locked !== undefined || isIntact(realized.inner, realized.entries)) continue;
      log.error("a policy map was changed by somebody else, it is made anew", { subject: key });
      this.#rebuild(realized.row, realized.entries);
    }
    for (const [id, item] of this.#attached) {
      if (this.#isPointed(id, item)) continue;
      log.error("an endpoint's pointer to its policy was changed by somebody else, it is set again", { endpoint: id });
      this.#point(id, item);
    }
    if (!isIntact(this.#lockdown, new PolicyEntries())) this.#lockdown.deleteMany([...this.#lockdown.keys()]);
  }

  #retire(key: string): void {
    const realized = this.#subjects.get(key);
    if (!realized) return;
    realized.retired = true;
    if (key !== subjectOfKey(key)) this.#pointAll(key);
    this.#forget(key);
  }

  /** Lets go of a subject that nobody computes any more and nobody has. */
  #forget(key: string): void {
    const realized = this.#subjects.get(key);
    if (!realized?.retired) return;
    for (const { subject } of this.#attached.values()) if (subject === key) return;
    this.#subjects.delete(key);
    if (realized.inner !== this.#lockdown) realized.inner.close();
  }

  readonly #toEntry = (entry: PolicyMapEntry): Entry => ({
    key: policyKeyOf(entry),
    value: policyEntryOf(entry, this.#deps.cookies, this.#options.proxyPorts),
  });
}

/** Writes the changes into the map in use. False when they are not only identities that came or went: then a new map is due. */
function applyDeltas(
  realized: Realized,
  deltas: readonly PolicyDelta[],
  toEntry: (entry: PolicyMapEntry) => Entry,
  maxEntries: number,
): boolean {
  const added = deltas.flatMap((delta) => delta.added).map(toEntry);
  const removed = deltas.flatMap((delta) => delta.removed).map(policyKeyOf);
  const { entries } = realized;
  const changesInPlace = added.some(({ key }) => entries.countOf(key.secLabel) > 0) || (added.length > 0 && removed.length > 0);
  if (changesInPlace || leavesSome(entries, removed) || entries.size + added.length > maxEntries) return false;
  // The ipcache learns of a new identity only after this, so nobody sees it half written; denials come first all the same.
  const ordered = added.sort((a, b) => b.value.flags - a.value.flags);
  realized.inner.setMany(ordered.map(({ key, value }) => [key, value] as const));
  realized.inner.deleteMany(removed);
  for (const entry of ordered) entries.add(entry);
  for (const key of removed) entries.delete(key);
  return true;
}

/** Whether the map in the kernel holds exactly what was written. */
function isIntact(inner: InnerMap, entries: PolicyEntries): boolean {
  return entries.equals(new PolicyEntries([...inner.entries()].map(([key, value]) => ({ key, value }))));
}

/** Whether some peer keeps entries when these are removed. */
function leavesSome(entries: PolicyEntries, removed: readonly PolicyKey[]): boolean {
  const byPeer = Map.groupBy(removed, ({ secLabel }) => secLabel);
  for (const [peer, keys] of byPeer) if (entries.countOf(peer) !== keys.length) return true;
  return false;
}

/** Without a realized policy: both directions enforced, nothing allowed. */
function configOf(subject: Pick<Realized, "row" | "locked"> | undefined, audit: number, cookies: Cookies): EndpointConfig {
  const policy = subject?.locked ? undefined : subject?.row.policy;
  const flag = (value: boolean) => (value ? 1 : 0);
  return {
    ingressEnforced: flag(policy?.ingress.enforced ?? true),
    egressEnforced: flag(policy?.egress.enforced ?? true),
    ingressDefaultDeny: flag(policy?.ingress.defaultDeny ?? true),
    egressDefaultDeny: flag(policy?.egress.defaultDeny ?? true),
    audit,
    ingressDefaultCookie: cookies.of(policy?.ingress.defaultDenyBy ?? []),
    egressDefaultCookie: cookies.of(policy?.egress.defaultDenyBy ?? []),
  };
}
