import { type AgentEvent, AgentEventType } from "#api/gen/flow/events_pb.ts";
import { escapeTerminal } from "./escape.ts";
import { formatTime } from "./time.ts";

/** Type and details of an agent event, in upstream's words. */
export function agentEventCells(event: AgentEvent | undefined): { readonly type: string; readonly details: string } {
  const type = Object.entries(AgentEventType).find(([, value]) => value === event?.type)?.[0] ?? "AGENT_EVENT_UNKNOWN";
  return { type, details: escapeTerminal(detailsOf(event)) };
}

function detailsOf(event: AgentEvent | undefined): string {
  const notification = event?.notification;
  switch (notification?.case) {
    case "agentStart":
      return `start time: ${formatTime(notification.value.time)}`;
    case "policyUpdate": {
      const { labels, revision, ruleCount } = notification.value;
      return `labels: [${labels.join(",")}], revision: ${revision}, count: ${ruleCount}`;
    }
    case "endpointRegenerate": {
      const { id, labels, error } = notification.value;
      return [`id: ${id}, labels: [${labels.join(",")}]`, ...(error === "" ? [] : [`error: ${error}`])].join(", ");
    }
    case "endpointUpdate": {
      const { id, podName, namespace } = notification.value;
      return [
        `id: ${id}`,
        ...(namespace === "" ? [] : [`namespace: ${namespace}`]),
        ...(podName === "" ? [] : [`pod name: ${podName}`]),
      ].join(", ");
    }
    case "ipcacheUpdate": {
      const { cidr, identity, oldIdentity, hostIp, oldHostIp, encryptKey } = notification.value;
      const parts = [`cidr: ${cidr}, identity: ${identity}`];
      if (oldIdentity !== undefined) parts.push(`old identity: ${oldIdentity}`);
      if (hostIp !== "") parts.push(`host ip: ${hostIp}`);
      if (oldHostIp !== "") parts.push(`old host ip: ${oldHostIp}`);
      return [...parts, `encrypt key: ${encryptKey}`].join(", ");
    }
    case "unknown":
      return `type: ${notification.value.type}, notification: ${notification.value.notification}`;
    default:
      return "UNKNOWN";
  }
}
