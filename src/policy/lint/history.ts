import { fqdnMatcher, normalizeName } from "#fqdn/pattern.ts";
import { objectOf, textOf } from "../parse/fields.ts";
import type { Fields } from "../parse/reading.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { type Pods, podsByEntry } from "./subjects.ts";

/** What recorded flows (as `hubble observe -o json` prints them) show to be probably not meant. Anything else among them is passed over. */
export function* lintHistory(world: World, pods: readonly Pods[], flows: readonly unknown[]): Generator<Finding> {
  if (flows.length === 0) return;
  const seen = flows.map((one) => objectOf(objectOf(one).flow ?? one));
  yield* missedNames(world, pods, seen);
  yield* encrypted(world, pods, seen);
}

const podOf = (end: unknown) => `${textOf(objectOf(end).namespace)}/${textOf(objectOf(end).pod_name)}`;

/** The pods by the names that flows have of them. */
const namesOf = (pods: readonly Pods[] = []) =>
  new Set(pods.flatMap(({ endpoints }) => endpoints.map(({ namespace, name }) => `${namespace}/${name}`)));

/** Names that a pod asked for and that its patterns just miss. */
function* missedNames(world: World, pods: readonly Pods[], flows: readonly Fields[]): Generator<Finding> {
  const named = flows.map(({ source, l7 }) => ({ pod: podOf(source), name: normalizeName(textOf(objectOf(objectOf(l7).dns).query)) }));
  for (const { parsed } of world.policies) {
    for (const rule of parsed.rules) {
      const selectors = rule.peers.flatMap(({ fqdn }) => (fqdn === undefined ? [] : [fqdn]));
      if (selectors.length === 0) continue;
      const own = namesOf(podsByEntry(pods).get(rule.origin));
      const asked = new Set(named.filter(({ pod }) => own.has(pod)).map(({ name }) => name));
      const domains = selectors.map(({ matchName, matchPattern }) =>
        normalizeName((matchName || (matchPattern ?? "")).replace(/^\**\.?/, "")),
      );
      const near = [...asked].filter(
        (name) =>
          name !== "." &&
          !selectors.some((one) => fqdnMatcher(one)(name)) &&
          domains.some((domain) => domain !== "." && name.endsWith(domain)),
      );
      if (near.length === 0) continue;
      const shown = near.slice(0, 5).map((name) => name.slice(0, -1));
      const message = `the pods asked for ${shown.join(", ")}, which ${shown.length === 1 ? "is" : "are"} of the domain but not of the pattern`;
      yield {
        id: "L11",
        severity: "warning",
        policy: parsed.ref,
        rule: rule.origin,
        message,
        fix: "`**.` takes any number of labels, `*.` one, and neither takes the domain itself",
      };
    }
  }
}

/** HTTP rules on ports whose requests were inside TLS. */
function* encrypted(world: World, pods: readonly Pods[], flows: readonly Fields[]): Generator<Finding> {
  const overTls = flows.filter(({ l7 }) => textOf(objectOf(objectOf(l7).http).url).startsWith("https:"));
  const portOf = ({ l4 }: Fields) => Number(objectOf(objectOf(l4).TCP).destination_port);
  for (const { parsed } of world.policies) {
    for (const rule of parsed.rules) {
      const specs = (rule.ports ?? [])
        .filter(({ l7, terminatingTls }) => (l7?.http.length ?? 0) > 0 && terminatingTls === undefined)
        .flatMap(({ ports }) => ports);
      if (specs.length === 0) continue;
      const own = namesOf(podsByEntry(pods).get(rule.origin));
      const flow = overTls.find(
        (one) =>
          own.has(podOf(rule.direction === "ingress" ? one.destination : one.source)) && specs.some(({ port }) => port === portOf(one)),
      );
      if (flow === undefined) continue;
      const message = `HTTP rules on ${portOf(flow)}, which carried TLS in the flows given: the proxy would find no HTTP and refuse everything`;
      yield {
        id: "L22",
        severity: "warning",
        policy: parsed.ref,
        rule: rule.origin,
        message,
        fix: "allow the port without HTTP rules, or terminate TLS with terminatingTLS",
      };
    }
  }
}
