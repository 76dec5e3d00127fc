import { addressesOf, type Endpoint, subjectKey } from "#endpoint/endpoint.ts";
import { auditedKey, type SubjectPolicy } from "#endpoint/subject-policy.ts";
import { type FqdnSelector, fqdnLabelKey } from "#fqdn/pattern.ts";
import type { L7Policy, L7Rule } from "#policy/resolve/l7-policy.ts";
import type { EndpointPolicy } from "#policy/resolve/resolve.ts";
import type { DnsEndpoint, DnsPort, DnsRule, DnsSettings, NamedIdentity } from "#proxy/dns/protocol.ts";
import type { Step } from "#reconciler/pipeline.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Table } from "#statedb/table.ts";
import type { NumericIdentity } from "#types/identity.ts";
import { protocolNumber } from "#types/proto.ts";
import type { ProxyClient } from "./proxy-client.ts";

const ACK_TIMEOUT_MS = 1000;

export interface DnsSteps {
  /** Before the policy maps: the proxy gets the ports that are going to be redirected. */
  readonly before: Step;
  /** After them: the proxy may let addresses in by names that policy maps know now, and forgets ports that are not redirected any more. */
  readonly after: Step;
}

export interface DnsStepsDeps {
  readonly endpoints: Table<Endpoint>;
  readonly subjects: Table<SubjectPolicy>;
  readonly proxy: ProxyClient;
  readonly identityOf: (selector: FqdnSelector) => NumericIdentity | undefined;
  /** Whether nothing of this endpoint's may be denied. */
  readonly isAudited: (row: Endpoint) => boolean;
  readonly log: Logger;
}

/** The DNS proxy's policy, around the reconcilers of the policy maps. Nothing is sent before `isReady`. */
export function createDnsSteps(deps: DnsStepsDeps, config: { readonly isReady: () => boolean; readonly settings: DnsSettings }): DnsSteps {
  const endpointChanges = deps.endpoints.observe();
  const subjectChanges = deps.subjects.observe();
  let sent: string | undefined;
  let present: readonly DnsEndpoint[] = [];
  let wanted: readonly DnsEndpoint[] = [];

  const send = async (endpoints: readonly DnsEndpoint[]) => {
    const text = JSON.stringify(endpoints);
    if (sent === text) return;
    sent = text;
    present = endpoints;
    const acknowledged = await deps.proxy.sendDns({ settings: config.settings, endpoints }, ACK_TIMEOUT_MS);
    if (!acknowledged && endpoints.length > 0) {
      deps.log.warn("the proxy does not have the present DNS policy yet", { connected: deps.proxy.connected });
    }
  };
  return {
    before: {
      name: "dns",
      onWork(fn) {
        endpointChanges.onReady(fn);
        subjectChanges.onReady(fn);
      },
      run() {
        if (!config.isReady()) return;
        if (endpointChanges.take().length + subjectChanges.take().length === 0) return;
        wanted = [...deps.endpoints.list()].flatMap((row) => dnsEndpoint(row, deps) ?? []);
        return send(between(present, wanted, deps.endpoints));
      },
    },
    after: {
      name: "dns-after",
      onWork() {},
      run: () => (sent === undefined ? undefined : send(wanted)),
    },
  };
}

/** Ports of before and after; names only as of before, since policy maps do not know the new ones yet. */
function between(present: readonly DnsEndpoint[], wanted: readonly DnsEndpoint[], endpoints: Table<Endpoint>): DnsEndpoint[] {
  const former = new Map(present.map((one) => [one.id, one]));
  const next = wanted.map((endpoint) => {
    const old = former.get(endpoint.id);
    former.delete(endpoint.id);
    if (old?.key !== endpoint.key) return endpoint;
    const audit = addPorts(endpoint.audit ?? [], old.audit ?? []);
    const ports = addPorts(endpoint.ports, old.ports);
    return { ...endpoint, ports, ...(audit.length > 0 ? { audit } : {}), selectors: old.selectors };
  });
  const leaving = [...former.values()].filter(({ id, key }) => endpoints.get(id)?.containerId === key);
  return [...next, ...leaving];
}

function addPorts(ports: readonly DnsPort[], former: readonly DnsPort[]): DnsPort[] {
  return [...ports, ...former.filter((old) => !ports.some((one) => one.port === old.port && one.protocol === old.protocol))];
}

/** Undefined when the endpoint has nothing for the DNS proxy. */
function dnsEndpoint(row: Endpoint, { subjects, identityOf, isAudited }: DnsStepsDeps): DnsEndpoint | undefined {
  const key = subjectKey(row);
  const [policy, audited] = [subjects.get(key)?.policy, subjects.get(auditedKey(key))?.policy];
  if (policy === undefined || row.identity === undefined) return undefined;
  const judged = policy.l7("egress").flatMap(dnsPort);
  const isOpen = isAudited(row);
  const audit = audited === undefined ? (isOpen ? judged : []) : audited.l7("egress").flatMap(dnsPort);
  // In audit mode every name may be asked for.
  const everyName: DnsRule = { identities: null, names: null, origins: [] };
  const ports = isOpen ? judged.map((port) => ({ ...port, rules: [...port.rules, everyName] })) : judged;
  const selectors = namesOf(audited === undefined ? [policy] : [policy, audited], identityOf);
  if (ports.length + audit.length + selectors.length === 0) return undefined;
  const judgedToo = audit.length === 0 ? {} : { audit };
  return { id: row.id, key: row.containerId, identity: row.identity, ips: addressesOf(row), ports, ...judgedToo, selectors };
}

/** The proxy speaks UDP and TCP. A port where DNS is only one of several kinds of rules keeps those that let DNS pass. */
function dnsPort({ port, endPort, protocol, rules }: L7Policy): DnsPort[] {
  const isDns = rules.some(({ parser }) => parser === "dns");
  const speaks = protocol === 0 || protocol === protocolNumber.UDP || protocol === protocolNumber.TCP;
  // Rules for DNS name single ports; a wider one is a plain rule beside them, which the proxy need not see.
  if (port === 0 || endPort > port || !speaks) return [];
  const mine = rules.flatMap(dnsRule);
  return isDns || mine.length > 0 ? [{ port, protocol, rules: mine }] : [];
}

function dnsRule({ parser, identities, dns, origins }: L7Rule): DnsRule[] {
  if (parser !== undefined && parser !== "dns") return [];
  return [{ identities, names: dns, origins }];
}

/** The selectors of the endpoint's rules, audited ones too. Selectors whose rows are the same share one number, so that an address needs few. */
function namesOf(
  policies: readonly EndpointPolicy[],
  identityOf: (selector: FqdnSelector) => NumericIdentity | undefined,
): NamedIdentity[] {
  const selectors = new Map<string, FqdnSelector>();
  for (const { peer } of policies.flatMap(({ egress }) => egress.filters))
    if (peer.fqdn !== undefined) selectors.set(fqdnLabelKey(peer.fqdn), peer.fqdn);
  const representatives = new Map<string, NumericIdentity>();
  return [...selectors.values()].flatMap((selector) => {
    const identity = identityOf(selector);
    if (identity === undefined) return [];
    const rows = JSON.stringify(policies.map((policy) => policy.entriesFor(identity).map((entry) => ({ ...entry, identity: 0 }))));
    const shared = representatives.get(rows) ?? identity;
    representatives.set(rows, shared);
    const { matchName, matchPattern } = selector;
    return [{ ...(matchName ? { matchName } : { matchPattern: matchPattern ?? "" }), identity: shared }];
  });
}
