import { celEnv, isCelError, objectType, parse, plan } from "@bufbuild/cel";
import { create, createRegistry, type DescMessage } from "@bufbuild/protobuf";
import { type Flow, FlowSchema, file_flow_flow } from "#api/gen/flow/flow_pb.ts";
import type { Predicate } from "./endpoint.ts";
import { FilterError, regexPredicate } from "./text.ts";

type Expr = ReturnType<typeof parse>["expr"];
type Comprehension = Extract<Expr["exprKind"], { readonly case: "comprehensionExpr" }>["value"];

const FIELD = "cel_expression";
/** The flow's name in an expression, as upstream's. */
const FLOW = "_flow";
/** Steps an expression may take for one flow: what a client asks for is done for every flow of a node. */
const MAX_STEPS = 100_000;
const MAX_LENGTH = 4096;
/** A list of a flow is taken to be that long. */
const LIST_LENGTH = 32;
const KEPT_PATTERNS = 64;
/** What is wrong with the expression itself and not with one flow. */
const NONSENSE = /not found|unresolved|overload|regular expression/;

/** Patterns may be made for each flow anew (`x.matches(_flow.y)`): the last ones are kept. */
function createRegexes() {
  const kept = new Map<string, { test(text: string): boolean }>();
  return {
    compile(pattern: string) {
      const known = kept.get(pattern);
      if (known !== undefined) return known;
      const compiled = { test: regexPredicate(FIELD, pattern) };
      if (kept.size >= KEPT_PATTERNS) kept.clear();
      kept.set(pattern, compiled);
      return compiled;
    },
  };
}

/**
 * CEL expressions about `_flow`, of which one must be true. An expression that fails for a flow does not match it, as with upstream.
 * Regular expressions are RE2's, and loops are bounded. Throws FilterError for what is no expression, not about a flow, no yes or no, or
 * too much work.
 */
export function celFilter(expressions: readonly string[]): Predicate {
  const predicates = expressions.map(celPredicate);
  return (flow) => predicates.some((predicate) => predicate(flow));
}

function celPredicate(text: string): Predicate {
  const refuse = (why: string) => new FilterError(FIELD, `${JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text)}: ${why}`);
  if (text.length > MAX_LENGTH) throw refuse(`longer than ${MAX_LENGTH} characters`);
  const { run, expr } = understood(text, refuse);
  const steps = stepsOf(expr);
  if (steps > MAX_STEPS) throw refuse(`may take ${steps} steps for a flow, ${MAX_STEPS} are allowed: nest fewer loops`);
  const sample = run(create(FlowSchema));
  if (sample instanceof Error) {
    if (NONSENSE.test(sample.message)) throw refuse(sample.message);
  } else if (typeof sample !== "boolean" && sample !== null) throw refuse("the answer must be true or false");
  return (flow) => run(flow) === true;
}

/** Gives the value for a flow, or what went wrong. A truth that a flow need not have (`is_reply`) is null where it has none. */
type Run = (flow: Flow) => unknown;

function understood(text: string, refuse: (why: string) => FilterError): { readonly run: Run; readonly expr: Expr } {
  try {
    const parsed = parse(text);
    const unknown = unknownField(parsed.expr);
    if (unknown !== undefined) throw new Error(unknown);
    const variables = { [FLOW]: objectType(FlowSchema) };
    const env = celEnv({ namespace: "flow", registry: createRegistry(file_flow_flow), variables, re2: createRegexes() });
    const program = plan(env, parsed);
    const run: Run = (flow) => {
      const value = program({ [FLOW]: flow });
      return isCelError(value) ? new Error(value.message) : value;
    };
    return { run, expr: parsed.expr };
  } catch (thrown) {
    throw refuse(thrown instanceof Error ? thrown.message : String(thrown));
  }
}

/** The first `_flow.a.b` that there is not; undefined when all are there. */
function unknownField(expr: Expr): string | undefined {
  const { exprKind } = expr;
  if (exprKind.case === "selectExpr") {
    const type = exprKind.value.operand && typeOf(exprKind.value.operand);
    const { field } = exprKind.value;
    if (type && !type.fields.some(({ name }) => name === field)) return `${type.typeName} has no field ${field}`;
  }
  for (const part of partsOf(expr)) {
    const found = unknownField(part);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The message that `_flow`, or a message in it, is; undefined for anything else. */
function typeOf({ exprKind }: Expr): DescMessage | undefined {
  if (exprKind.case === "identExpr") return exprKind.value.name === FLOW ? FlowSchema : undefined;
  if (exprKind.case !== "selectExpr" || exprKind.value.operand === undefined) return undefined;
  const field = typeOf(exprKind.value.operand)?.fields.find(({ name }) => name === (exprKind.value as { readonly field: string }).field);
  return field?.fieldKind === "message" ? field.message : undefined;
}

/** How many steps an expression takes at the most, taking a list to be as long as the expression or as a flow's lists are. */
function stepsOf(expr: Expr): number {
  const size = sizeOf(expr);
  return size * Math.max(LIST_LENGTH, size) ** depthOf(expr) || size;
}

function sizeOf(expr: Expr): number {
  return partsOf(expr).reduce((sum, part) => sum + sizeOf(part), 1);
}

/** Loops inside of loops; a loop over what a loop has made counts too. */
function depthOf(expr: Expr): number {
  const own = expr.exprKind.case === "comprehensionExpr" ? 1 : 0;
  return own + Math.max(0, ...partsOf(expr).map(depthOf));
}

function partsOf({ exprKind }: Expr): Expr[] {
  switch (exprKind.case) {
    case "selectExpr":
      return present([exprKind.value.operand]);
    case "callExpr":
      return present([exprKind.value.target, ...exprKind.value.args]);
    case "listExpr":
      return exprKind.value.elements;
    case "structExpr":
      return present(
        exprKind.value.entries.flatMap(({ keyKind, value }) => [keyKind.case === "mapKey" ? keyKind.value : undefined, value]),
      );
    case "comprehensionExpr":
      return loopParts(exprKind.value);
    default:
      return [];
  }
}

function loopParts({ iterRange, accuInit, loopCondition, loopStep, result }: Comprehension): Expr[] {
  return present([iterRange, accuInit, loopCondition, loopStep, result]);
}

function present(parts: readonly (Expr | undefined)[]): Expr[] {
  return parts.filter((part) => part !== undefined);
}
