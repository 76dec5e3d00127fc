import type { Schema } from "./schema.ts";

/** Fields that Kubernetes got after the release the type declarations were made from, or that they leave too wide. */
export const ADDED_FIELDS: Readonly<Record<string, Record<string, Schema>>> = {
  PodSpec: {
    resources: {
      description: "Resources of the pod as a whole.",
      type: "object",
      properties: {
        limits: { type: "object", additionalProperties: { "x-kubernetes-int-or-string": true } },
        requests: { type: "object", additionalProperties: { "x-kubernetes-int-or-string": true } },
      },
    },
  },
  PodStatus: { observedGeneration: { type: "integer", description: "The generation of the specification that this status is about." } },
  EndpointHints: {
    forNodes: {
      type: "array",
      items: { type: "object", properties: { name: { type: "string", description: "Name of the node." } } },
      description: "Nodes whose callers the endpoint is for, of PreferSameNode.",
    },
  },
  DeploymentStatus: { terminatingReplicas: { type: "integer", description: "Pods that are being deleted." } },
  ReplicaSetStatus: { terminatingReplicas: { type: "integer", description: "Pods that are being deleted." } },
  Secret: {
    data: {
      type: "object",
      additionalProperties: { type: "string", format: "byte" },
      description: "The secret's data: base64-encoded values by key.",
    },
  },
  ConfigMap: {
    binaryData: {
      type: "object",
      additionalProperties: { type: "string", format: "byte" },
      description: "Base64-encoded values by key, for data that is not UTF-8.",
    },
  },
};
