import type { MessageInitShape } from "@bufbuild/protobuf";
import { create, toBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { ExplanationSchema, type ExplanationSchema as Schema } from "#api/gen/cilia/explanation_pb.ts";
import type { Denial, PolicyNames } from "../names.ts";
import { share } from "../wire/encoder.ts";

/** Type of our record in `Flow.extensions`. */
export const EXPLANATION_TYPE_URL = "type.googleapis.com/cilia.Explanation";

const packed = new WeakMap<Denial, Any>();

/** The answer as `cilia.Explanation`, packed once per answer. */
export function explanationAny(denial: Denial, direction: "ingress" | "egress"): Any {
  let any = packed.get(denial);
  if (any === undefined) {
    const message = create(ExplanationSchema, {
      rules: denial.policies.map((rule) => ruleRef(rule, direction)),
      lines: [...denial.lines],
      nearest: denial.nearest.map(({ rule, reasons }) => ({ rule: ruleRef(rule, direction), reasons: [...reasons] })),
      fix: denial.fix ?? "",
    });
    any = share<Any>({ $typeName: "google.protobuf.Any", typeUrl: EXPLANATION_TYPE_URL, value: toBinary(ExplanationSchema, message) });
    packed.set(denial, any);
  }
  return any;
}

type RuleInit = NonNullable<MessageInitShape<typeof Schema>["rules"]>[number];

function ruleRef(rule: PolicyNames, direction: string): RuleInit {
  return {
    kind: rule.kind,
    namespace: rule.namespace,
    name: rule.name,
    section: rule.section ?? "",
    ...(rule.index === undefined ? {} : { index: rule.index }),
    spec: rule.spec ?? 0,
    line: rule.line ?? 0,
    direction,
  };
}
