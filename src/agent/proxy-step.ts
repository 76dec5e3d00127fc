import { addressesOf, type Endpoint, subjectKey } from "#endpoint/endpoint.ts";
import { auditedKey, type SubjectPolicy } from "#endpoint/subject-policy.ts";
import type { L7Policy } from "#policy/resolve/l7-policy.ts";
import type { EndpointPolicy } from "#policy/resolve/resolve.ts";
import type { DirectionPolicies, PolicyMessage, PortPolicy } from "#proxy/protocol.ts";
import type { Step } from "#reconciler/pipeline.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Table } from "#statedb/table.ts";
import type { ProxyClient } from "./proxy-client.ts";
import { proxyRules, type SecretLookup, secretsOf } from "./proxy-rules.ts";
import { type Secrets, secretKey } from "./secrets.ts";

/** How long the kernel waits for the proxy before it redirects all the same; what arrives there then is denied, not passed. */
const ACK_TIMEOUT_MS = 1000;

export interface ProxySteps {
  /** Before the policy maps: the proxy gets what is new and keeps what was there. */
  readonly before: Step;
  /** After them: the proxy forgets what the kernel no longer redirects. */
  readonly after: Step;
}

export interface ProxyStepsDeps {
  readonly endpoints: Table<Endpoint>;
  readonly subjects: Table<SubjectPolicy>;
  readonly proxy: ProxyClient;
  readonly secrets: Secrets;
  /** Takes the rules that the proxy gets: the kernel decides what it can of them. */
  readonly onRules?: ((endpoints: readonly ProxyEndpoint[]) => void) | undefined;
  /** Whether nothing of this endpoint's may be denied. */
  readonly isAudited: (row: Endpoint) => boolean;
  readonly log: Logger;
}

/**
 * The proxy's policy, around the reconcilers of the policy maps: whatever the kernel redirects, before or after its change, has
 * rules there. Nothing is sent before `isReady`: what the first message does not mention is denied.
 */
export function createProxySteps(deps: ProxyStepsDeps, config: { readonly isReady: () => boolean }): ProxySteps {
  const endpointChanges = deps.endpoints.observe();
  const subjectChanges = deps.subjects.observe();
  const secretChanges = deps.secrets.table.observe();
  const lookup: SecretLookup = (ref) => deps.secrets.table.get(secretKey(ref))?.values;
  let sent: readonly ProxyEndpoint[] | undefined;
  let wanted: readonly ProxyEndpoint[] = [];

  const send = async (endpoints: readonly ProxyEndpoint[]) => {
    if (sent && JSON.stringify(sent) === JSON.stringify(endpoints)) return;
    sent = endpoints;
    const acknowledged = await deps.proxy.send(endpoints, ACK_TIMEOUT_MS);
    if (!acknowledged && endpoints.length > 0) {
      deps.log.warn("the proxy does not have the present policy yet", { connected: deps.proxy.connected });
    }
  };
  return {
    before: {
      name: "proxy",
      onWork(fn) {
        endpointChanges.onReady(fn);
        subjectChanges.onReady(fn);
        secretChanges.onReady(fn);
      },
      run() {
        if (!config.isReady()) return;
        if (endpointChanges.take().length + subjectChanges.take().length + secretChanges.take().length === 0) return;
        const policyOf = (key: string) => deps.subjects.get(key)?.policy;
        const rows = [...deps.endpoints.list()].map((row) => {
          const key = subjectKey(row);
          return { row, policy: policyOf(key), audited: policyOf(auditedKey(key)), isOpen: deps.isAudited(row) };
        });
        deps.secrets.follow(
          rows.flatMap(({ policy, audited }) =>
            DIRECTIONS.flatMap((direction) => secretsOf([policy, audited].flatMap((one) => one?.l7(direction) ?? []))),
          ),
        );
        wanted = rows.flatMap((one) => proxyEndpoint(one, lookup) ?? []);
        deps.onRules?.(wanted);
        return send(withFormer(wanted, sent ?? [], deps.endpoints));
      },
    },
    after: {
      name: "proxy-after",
      onWork() {},
      run: () => (sent === undefined ? undefined : send(wanted)),
    },
  };
}

/** The wanted rules, and the former ones of ports that have none any more: the kernel redirects them for a moment yet. */
export function withFormer(
  wanted: readonly ProxyEndpoint[],
  former: readonly ProxyEndpoint[],
  endpoints: Table<Endpoint>,
): ProxyEndpoint[] {
  const byId = new Map(wanted.map((endpoint) => [endpoint.id, endpoint]));
  for (const old of former) {
    const row = endpoints.get(old.id);
    if (row?.identity === undefined || addressesOf(row).join() !== old.ips.join()) continue;
    const next = byId.get(old.id) ?? { ...old, ingress: [], egress: [] };
    const audit = addDirections(next.audit ?? NO_PORTS, old.audit ?? NO_PORTS);
    const isAudited = audit.ingress.length + audit.egress.length > 0;
    byId.set(old.id, { ...next, ...addDirections(next, old), ...(isAudited ? { audit } : {}) });
  }
  return [...byId.values()].filter(({ ingress, egress, audit }) => audit !== undefined || ingress.length + egress.length > 0);
}

const NO_PORTS: DirectionPolicies = { ingress: [], egress: [] };

function addDirections(ports: DirectionPolicies, former: DirectionPolicies): DirectionPolicies {
  return { ingress: addPorts(ports.ingress, former.ingress), egress: addPorts(ports.egress, former.egress) };
}

function addPorts(ports: readonly PortPolicy[], former: readonly PortPolicy[]): PortPolicy[] {
  const name = ({ port, endPort }: PortPolicy) => `${port}-${endPort ?? port}`;
  const present = new Set(ports.map(name));
  return [...ports, ...former.filter((old) => !present.has(name(old)))];
}

const DIRECTIONS = ["ingress", "egress"] as const;

type ProxyEndpoint = PolicyMessage["endpoints"][number];

/** In audit mode every request passes: a rule for everybody and everything beside the others. */
export function opened(ports: readonly PortPolicy[]): PortPolicy[] {
  return ports.map((port) => ({ ...port, audited: true, rules: [...port.rules, { identities: null, http: null, origins: [] }] }));
}

interface Judged {
  readonly row: Endpoint;
  readonly policy: EndpointPolicy | undefined;
  /** What `policy` would be if no policy were in audit mode; undefined when that is nothing else. */
  readonly audited: EndpointPolicy | undefined;
  /** Nothing of this endpoint's may be denied. */
  readonly isOpen: boolean;
}

/** Undefined when the endpoint has nothing for the proxy. */
function proxyEndpoint({ row, policy, audited, isOpen }: Judged, secrets: SecretLookup): ProxyEndpoint | undefined {
  const rules = (direction: (typeof DIRECTIONS)[number]) => {
    const judged = policy?.l7(direction) ?? [];
    const ports = proxyRules(judged, secrets);
    const would = audited === undefined ? (isOpen ? judged : []) : audited.l7(direction);
    return { ports: isOpen ? opened(ports) : ports, audit: proxyRules(withoutUnserved(would, judged, ports), secrets) };
  };
  const [ingress, egress] = [rules("ingress"), rules("egress")];
  const total = ingress.ports.length + egress.ports.length + ingress.audit.length + egress.audit.length;
  if (total === 0 || row.identity === undefined) return undefined;
  return {
    id: row.id,
    identity: row.identity,
    ips: addressesOf(row),
    namespace: row.pod.namespace,
    podName: row.pod.name,
    labels: row.labels.texts,
    ingress: ingress.ports,
    egress: egress.ports,
    ...(ingress.audit.length + egress.audit.length === 0 ? {} : { audit: { ingress: ingress.audit, egress: egress.audit } }),
  };
}

/** A port whose rules the proxy does not serve is denied there by not being told of, so audit mode must not tell of it either. */
function withoutUnserved(would: readonly L7Policy[], judged: readonly L7Policy[], served: readonly PortPolicy[]): readonly L7Policy[] {
  const first = (policy: L7Policy) => Math.max(policy.port, 1);
  const unserved = judged.filter((policy) => !served.some(({ port }) => port === first(policy)));
  const last = ({ port, endPort }: L7Policy) => (port === 0 ? 0xffff : Math.max(port, endPort));
  const meets = (a: L7Policy, b: L7Policy) => a.port <= last(b) && b.port <= last(a);
  return would.filter((policy) => !unserved.some((other) => meets(policy, other)));
}
