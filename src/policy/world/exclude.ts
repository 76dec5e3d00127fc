import { hasPorts } from "#types/proto.ts";
import { compileHttpRule, type HttpRequest, httpMismatches } from "../l7/http.ts";
import { patternOf, type Shape, shapesOf, without } from "../l7/http-pattern.ts";
import { listOf, objectOf, textOf } from "../parse/fields.ts";
import type { Fields } from "../parse/reading.ts";
import { formatRuleRef, policyKey, type RuleRef } from "../rule.ts";
import type { Connection } from "./connection.ts";
import { type Edit, entryOf, withEntries, withoutServerFields } from "./narrow.ts";
import type { World } from "./world.ts";

/** The rule as it would have to be so that this one request is no longer among those that it allows; else why it cannot be written so. */
export function excluding(
  world: World,
  connection: Connection,
  rule: RuleRef,
): (Edit & { readonly isChanged: boolean }) | { readonly problem: string } {
  const { http, protocol, port } = connection;
  const text = formatRuleRef(rule);
  const policy = world.policy(policyKey(rule));
  const object = withoutServerFields(policy?.from.object);
  const entry = entryOf(object, rule);
  if (http === undefined || policy === undefined || !hasPorts(protocol)) return { problem: `${text} has no HTTP rules` };
  const toPorts: Fields[] = [];
  for (const item of listOf(entry.toPorts).map(objectOf)) {
    const parts = partsOf(item, port);
    if (typeof parts === "string") return { problem: `${text}: ${parts}` };
    const rules = listOf(objectOf(item.rules).http).map(objectOf);
    if (parts.own !== undefined && rules.length === 0) return { problem: `${text} allows every request` };
    if (parts.own === undefined || !rules.some((one) => allows(one, http))) {
      toPorts.push(item);
      continue;
    }
    if (parts.others !== undefined) toPorts.push(parts.others);
    const left = rules.map((one) => restOf(one, http));
    const stuck = left.find((one) => typeof one === "string");
    if (typeof stuck === "string") return { problem: `${text}: ${stuck}` };
    const kept = left.flatMap((one) => (typeof one === "string" ? [] : one));
    // An empty list of HTTP rules would allow everything.
    if (kept.length > 0) toPorts.push({ ...parts.own, rules: { ...objectOf(parts.own.rules), http: kept } });
  }
  // So would an entry without ports; one without anything allows nobody, and keeps the default deny.
  const next = toPorts.length === 0 ? {} : { ...entry, toPorts };
  const summary = `${text} leaves out ${http.method} ${http.path}`;
  return { object: withEntries(object, rule, [next]), summary, isChanged: JSON.stringify(next) !== JSON.stringify(entry) };
}

/** What of the item is for the port, and what for others; a text when it cannot be parted. */
function partsOf(item: Fields, port: number): { readonly own?: Fields; readonly others?: Fields } | string {
  const ports = listOf(item.ports).map(objectOf);
  const isRange = (one: Fields) => one.endPort !== undefined && Number(one.endPort) > Number(one.port);
  if (ports.length <= 1 && !ports.some(isRange)) {
    const [only] = ports;
    return only === undefined || !/^\d+$/.test(textOf(only.port)) || Number(only.port) === port ? { own: item } : { others: item };
  }
  if (ports.some((one) => isRange(one) || !/^\d+$/.test(textOf(one.port))))
    return "its HTTP rules are for a range, or for named ports beside others";
  const [own, others] = [ports.filter((one) => Number(one.port) === port), ports.filter((one) => Number(one.port) !== port)];
  return {
    ...(own.length > 0 ? { own: { ...item, ports: own } } : {}),
    ...(others.length > 0 ? { others: { ...item, ports: others } } : {}),
  };
}

function allows(rule: Fields, request: HttpRequest): boolean {
  return httpMismatches(compileHttpRule(rule), request).length === 0;
}

/** HTTP rules for what the rule allows but the request: other methods as before, and this one on other paths. A text when there are no such. */
function restOf(rule: Fields, request: HttpRequest): Fields[] | string {
  if (!allows(rule, request)) return [rule];
  const methods = restOfShapes(textOf(rule.method), request.method);
  const paths = restOfShapes(textOf(rule.path), request.path);
  if (methods === undefined || paths === undefined)
    return `no pattern matches what "${textOf(rule.path) || textOf(rule.method)}" does but this`;
  const { method: _method, path: _path, ...same } = rule;
  const at = (fields: Fields) => ({ ...fields, ...same });
  const onOtherMethods = methods.length === 0 ? [] : [at({ method: patternOf(methods), ...pathOf(rule) })];
  return [...onOtherMethods, ...(paths.length === 0 ? [] : [at({ method: request.method, path: patternOf(paths) })])];
}

const pathOf = ({ path }: Fields) => (path === undefined ? {} : { path });

function restOfShapes(pattern: string, text: string): Shape[] | undefined {
  const left = shapesOf(pattern).map((shape) => without(shape, text));
  return left.some((one) => one === undefined) ? undefined : left.flatMap((one) => one ?? []);
}
