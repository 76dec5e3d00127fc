import type { Direction } from "#types/direction.ts";
import { objectOf } from "../parse/fields.ts";
import { parsePolicy } from "../parse/parse.ts";
import type { Fields } from "../parse/reading.ts";
import { auditAnnotation, policyKey } from "../rule.ts";
import { type AuditPlace, auditedAt, auditPlaces, endpointPlace, enforced } from "./audit.ts";
import { type Connection, endsOf, type Judgement, judge, type Side, unauditedSide } from "./connection.ts";
import { memorySource } from "./objects.ts";
import { findSame, type Party } from "./party.ts";
import { type Remedy, remedyFor } from "./remedy.ts";
import { createWorld, type World } from "./world.ts";

/** One end that would deny it, and lets it pass because of audit mode. */
export type AuditedSide = {
  readonly side: Side;
  /** The policies in audit mode that would deny it (`policyKey`); none where it is a place that is. */
  readonly policies: readonly string[];
  readonly places: readonly AuditPlace[];
};

/** What happens: AUDIT passes, and is reported as what would be denied. */
export type Outcome = {
  readonly verdict: "allowed" | "denied" | "audit";
  readonly egress?: AuditedSide | undefined;
  readonly ingress?: AuditedSide | undefined;
};

/** The outcome of a judgement, with what audit mode changes. `endpoints` are the pods (`namespace/name`) that their agents have in audit mode. */
export function outcomeOf(world: World, connection: Connection, judgement: Judgement, endpoints: ReadonlySet<string> = new Set()): Outcome {
  if (judgement.itself === true) return { verdict: "allowed" };
  const audited = (direction: Direction) => auditedSide(world, connection, direction, judgement[direction], endpoints);
  const [egress, ingress] = [audited("egress"), audited("ingress")];
  const passes = (side: Side | undefined, by: AuditedSide | undefined) => side?.allowed !== false || by !== undefined;
  if (!passes(judgement.egress, egress) || !passes(judgement.ingress, ingress)) return { verdict: "denied", egress, ingress };
  return { verdict: egress === undefined && ingress === undefined ? "allowed" : "audit", egress, ingress };
}

function auditedSide(
  world: World,
  connection: Connection,
  direction: Direction,
  side: Side | undefined,
  endpoints: ReadonlySet<string>,
): AuditedSide | undefined {
  if (side === undefined) return undefined;
  const { own } = endsOf(connection, direction);
  if (!side.allowed) {
    const places = placesOf(world, own, endpoints);
    return places.length === 0 ? undefined : { side, policies: [], places };
  }
  const other = unauditedSide(world, connection, direction);
  if (other === undefined || other.allowed) return undefined;
  const { decidedBy, defaultDenyBy } = other.explanation;
  const keys = [...new Set([...decidedBy, ...defaultDenyBy].map(policyKey))];
  return { side: other, policies: keys.filter((key) => world.policy(key)?.parsed.audit === true), places: [] };
}

/** Where all pods of a party are in audit mode; for nodes that is said by the agents' setting alone. */
function placesOf(world: World, own: Party, endpoints: ReadonlySet<string>): AuditPlace[] {
  const places = auditPlaces(world.objects);
  const everywhere = places.filter(({ scope }) => scope === "agents");
  if (own.kind !== "pod" || own.pods.length === 0) return everywhere;
  const each = own.pods.map((pod) => {
    const annotated = auditedAt(places, pod);
    return annotated.length === 0 && endpoints.has(`${pod.namespace}/${pod.name}`) ? [endpointPlace(pod)] : annotated;
  });
  return each.every((one) => one.length > 0) ? [...new Set(each.flat())] : [];
}

/**
 * What would allow an audited connection once nothing is audited any more, and changes nothing before: new policies put nobody in default deny, present
 * ones stay in audit mode. Tried as if nothing were audited.
 */
export function remedyForAudited(world: World, connection: Connection): Remedy | undefined {
  const later = (...more: readonly object[]) =>
    createWorld([...world.objects, ...more.map((object) => ({ object, source: memorySource("proposed") }))].map(enforced), world.settings);
  const remedy = remedyFor(...askedIn(later(), connection));
  if (remedy?.verb !== "allow") return undefined;
  const objects = remedy.objects.map((object) => unobtrusive(world, objectOf(object)));
  return judge(...askedIn(later(...objects), connection)).allowed ? { ...remedy, objects } : undefined;
}

function askedIn(world: World, connection: Connection): [World, Connection] {
  return [world, { ...connection, from: findSame(world, connection.from), to: findSame(world, connection.to) }];
}

function unobtrusive(world: World, object: Fields): Fields {
  const present = world.policy(policyKey(parsePolicy(object, world.settings).ref));
  const metadata = objectOf(object.metadata);
  const annotations = { ...objectOf(metadata.annotations), [auditAnnotation]: "enabled" };
  if (present?.parsed.audit === true) return { ...object, metadata: { ...metadata, annotations } };
  if (present !== undefined) return object;
  return { ...object, spec: { ...objectOf(object.spec), enableDefaultDeny: { ingress: false, egress: false } } };
}
