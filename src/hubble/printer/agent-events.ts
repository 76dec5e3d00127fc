import { type AgentEvent, AgentEventType, type ServiceUpsertNotification } from "#api/gen/flow/events_pb.ts";
import { enumName } from "../enum-names.ts";
import { escapeTerminal } from "./escape.ts";
import { formatTime } from "./time.ts";

type Notification = AgentEvent["notification"];
type Case = NonNullable<Notification["case"]>;

const { POLICY_UPDATED, POLICY_DELETED, ENDPOINT_CREATED, ENDPOINT_DELETED, IPCACHE_UPSERTED, IPCACHE_DELETED } = AgentEventType;
const { ENDPOINT_REGENERATE_SUCCESS, ENDPOINT_REGENERATE_FAILURE, AGENT_STARTED, SERVICE_UPSERTED, SERVICE_DELETED } = AgentEventType;

/** What an event of a type tells of; anything else is not understood. */
const CASES: Readonly<Record<number, Case>> = {
  [AgentEventType.AGENT_EVENT_UNKNOWN]: "unknown",
  [AGENT_STARTED]: "agentStart",
  [POLICY_UPDATED]: "policyUpdate",
  [POLICY_DELETED]: "policyUpdate",
  [ENDPOINT_REGENERATE_SUCCESS]: "endpointRegenerate",
  [ENDPOINT_REGENERATE_FAILURE]: "endpointRegenerate",
  [ENDPOINT_CREATED]: "endpointUpdate",
  [ENDPOINT_DELETED]: "endpointUpdate",
  [IPCACHE_UPSERTED]: "ipcacheUpdate",
  [IPCACHE_DELETED]: "ipcacheUpdate",
  [SERVICE_UPSERTED]: "serviceUpsert",
  [SERVICE_DELETED]: "serviceDelete",
};

/** Type and details of an agent event, in upstream's words; times in one of `timeFormats`. */
export function agentEventCells(event: AgentEvent | undefined, timeFormat?: string): { readonly type: string; readonly details: string } {
  const type = event?.type ?? AgentEventType.AGENT_EVENT_UNKNOWN;
  const notification = event?.notification;
  const parts = notification?.case === CASES[type] ? partsOf(notification, timeFormat) : undefined;
  return { type: enumName(AgentEventType, type), details: escapeTerminal(parts?.join(", ") ?? "UNKNOWN") };
}

/** `name: value`, or nothing for an empty value. */
function named(name: string, value: string): string[] {
  return value === "" ? [] : [`${name}: ${value}`];
}

function partsOf(notification: Notification | undefined, timeFormat?: string): readonly string[] | undefined {
  switch (notification?.case) {
    case "unknown":
      return [`type: ${notification.value.type}`, `notification: ${notification.value.notification}`];
    case "agentStart":
      return [`start time: ${formatTime(notification.value.time, timeFormat)}`];
    case "policyUpdate": {
      const { labels, revision, ruleCount } = notification.value;
      return [`labels: [${labels.join(",")}]`, `revision: ${revision}`, `count: ${ruleCount}`];
    }
    case "endpointRegenerate": {
      const { id, labels, error } = notification.value;
      return [`id: ${id}`, `labels: [${labels.join(",")}]`, ...named("error", error)];
    }
    case "endpointUpdate": {
      const { id, podName, namespace } = notification.value;
      return [`id: ${id}`, ...named("namespace", namespace), ...named("pod name", podName)];
    }
    case "ipcacheUpdate": {
      const { cidr, identity, oldIdentity, hostIp, oldHostIp, encryptKey } = notification.value;
      const before = named("old identity", oldIdentity === undefined ? "" : String(oldIdentity));
      const hosts = [...named("host ip", hostIp), ...named("old host ip", oldHostIp)];
      return [`cidr: ${cidr}`, `identity: ${identity}`, ...before, ...hosts, `encrypt key: ${encryptKey}`];
    }
    case "serviceUpsert":
      return serviceParts(notification.value);
    case "serviceDelete":
      return [`id: ${notification.value.id}`];
    default:
      return undefined;
  }
}

function serviceParts({
  id,
  frontendAddress,
  backendAddresses,
  type,
  trafficPolicy,
  namespace,
  name,
}: ServiceUpsertNotification): string[] {
  const address = ({ ip, port }: { readonly ip: string; readonly port: number }) =>
    ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
  const backends = backendAddresses.length === 0 ? "" : `[${backendAddresses.map(address).join(",")}]`;
  return [
    `id: ${id}`,
    ...named("frontend", frontendAddress === undefined ? "" : address(frontendAddress)),
    ...named("backends", backends),
    ...named("type", type),
    ...named("traffic policy", trafficPolicy),
    ...named("namespace", namespace),
    ...named("name", name),
  ];
}
