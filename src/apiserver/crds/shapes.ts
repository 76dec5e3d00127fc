import type { Schema } from "../schema/schema.ts";

/** Short forms for writing schemas by hand. */
export const text = (description: string, more: Partial<Schema> = {}): Schema => ({ type: "string", description, ...more });
export const flag = (description: string): Schema => ({ type: "boolean", description });
export const whole = (description: string, more: Partial<Schema> = {}): Schema => ({ type: "integer", description, ...more });
export const list = (description: string, items: Schema, more: Partial<Schema> = {}): Schema => ({
  type: "array",
  description,
  items,
  ...more,
});
export const texts = (description: string): Schema => list(description, { type: "string" });
export const record = (description: string, properties: Record<string, Schema>, more: Partial<Schema> = {}): Schema => ({
  type: "object",
  description,
  properties,
  ...more,
});
/** An object whose content is not described further. */
export const open = (description: string): Schema => ({ type: "object", description, "x-kubernetes-preserve-unknown-fields": true });
export const map = (description: string, values: Schema = { type: "string" }): Schema => ({
  type: "object",
  description,
  additionalProperties: values,
});

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"];

const LABEL_VALUE = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";

/** A label selector. Cilium's label keys have a source (`k8s:app`), so keys are not checked here. */
export const selector = (description: string): Schema =>
  record(description, {
    matchLabels: map("Labels and the values that they must have.", { type: "string", maxLength: 63, pattern: LABEL_VALUE }),
    matchExpressions: list(
      "Requirements, all of which must be met.",
      record(
        "One requirement.",
        {
          key: text("The label."),
          operator: text("How the label's value relates to the values.", { enum: OPERATORS }),
          values: texts("The values; empty for Exists and DoesNotExist."),
        },
        { required: ["key", "operator"] },
      ),
    ),
  });

export const conditions: Schema = list(
  "The latest observations of the object's state.",
  record(
    "One observation.",
    {
      type: text("What is observed."),
      status: text("True, False or Unknown."),
      reason: text("Why, in one word."),
      message: text("Why, in a sentence."),
      lastTransitionTime: text("When the status last changed.", { format: "date-time" }),
      observedGeneration: whole("The generation of the object that was looked at."),
    },
    { required: ["type", "status"] },
  ),
  { "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"] },
);

/** The usage in the status of every kind of policy. */
export const usage = record("What its rules have decided, as far as the nodes have told.", {
  nodes: whole("Nodes that have pods it selects."),
  endpoints: whole("Pods that it selects."),
  packets: { type: "integer", format: "int64", description: "Packets allowed or denied by its rules, or by its default deny." },
  audited: { type: "integer", format: "int64", description: "Packets and requests that audit mode let pass." },
  lastHit: { type: "string", format: "date-time", description: "When it last decided something." },
});
