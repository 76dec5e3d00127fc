import { create, type DescMessage } from "@bufbuild/protobuf";
import { type Flow, FlowSchema } from "#api/gen/flow/flow_pb.ts";
import { FilterError } from "../filters/text.ts";
import { emptyFlow } from "../parser/messages.ts";

/**
 * What a client that prints lines needs besides what it asks for: hubble 1.19 forgets these in its default mask and then prints
 * `TRAFFIC_DIRECTION_UNKNOWN`, no DNS names and no policies. Whoever asks for `Summary` prints lines.
 */
const NEEDED_BY_PRINTERS = [
  "traffic_direction",
  "policy_match_type",
  "auth_type",
  "sock_xlate_point",
  "debug_capture_point",
  "source_names",
  "destination_names",
  "egress_allowed_by",
  "ingress_allowed_by",
  "egress_denied_by",
  "ingress_denied_by",
];

interface Tree {
  [name: string]: Tree | true;
}

/** A field mask as a function that copies a flow's wanted fields. Throws FilterError for a path that is no field. */
export function compileMask(paths: readonly string[]): (flow: Flow) => Flow {
  if (paths.length === 0) return (flow) => flow;
  const tree: Tree = {};
  for (const path of paths.includes("Summary") ? [...paths, ...NEEDED_BY_PRINTERS] : paths) addPath(tree, path);
  const copy = copier(FlowSchema, tree, "");
  return (flow) => {
    const copied = emptyFlow(0n);
    copied.time = undefined;
    return Object.assign(copied, copy(flow));
  };
}

function addPath(tree: Tree, path: string): void {
  let at = tree;
  const parts = path.split(".");
  for (const [index, part] of parts.entries()) {
    const found = at[part];
    if (found === true) return;
    if (index === parts.length - 1) at[part] = true;
    else at = at[part] = found ?? {};
  }
}

type Fields = Readonly<Record<string, unknown>>;

function copier(schema: DescMessage, tree: Tree, path: string): (message: Fields) => Record<string, unknown> {
  const steps = Object.entries(tree).map(([name, rest]) => copyField(schema, name, rest, path));
  return (message) => {
    const copy: Record<string, unknown> = {};
    for (const step of steps) step(message, copy);
    return copy;
  };
}

function copyField(
  schema: DescMessage,
  name: string,
  rest: Tree | true,
  path: string,
): (from: Fields, to: Record<string, unknown>) => void {
  const field = schema.fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw new FilterError("field_mask", `"${path}${name}" is no field of ${schema.typeName}`);
  const { oneof, localName } = field;
  if (oneof !== undefined) {
    return (from, to) => {
      const value = from[oneof.localName];
      if (typeof value === "object" && value !== null && "case" in value && value.case === localName) to[oneof.localName] = value;
    };
  }
  if (rest === true || field.fieldKind !== "message") {
    return (from, to) => {
      to[localName] = from[localName];
    };
  }
  const child = field.message;
  const copyChild = copier(child, rest, `${path}${name}.`);
  return (from, to) => {
    const value = from[localName];
    if (typeof value === "object" && value !== null) to[localName] = Object.assign(create(child), copyChild(value as Fields));
  };
}
