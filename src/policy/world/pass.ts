import { labelKey } from "#labels/label.ts";
import { protocolNumber } from "#types/proto.ts";
import { listOf, objectOf } from "../parse/fields.ts";
import type { Fields } from "../parse/reading.ts";
import { formatRuleRef, type RuleRef } from "../rule.ts";
import { freeName, nameOf, ownLabels, surroundingsOf } from "./additive.ts";
import { type Connection, endsOf } from "./connection.ts";
import type { Narrowed } from "./narrow.ts";
import { blocksOf } from "./outside.ts";
import type { Party } from "./party.ts";
import { titleOf } from "./trial.ts";
import type { World } from "./world.ts";

const protocolFields: Readonly<Record<number, string>> = {
  [protocolNumber.TCP]: "tcp",
  [protocolNumber.UDP]: "udp",
  [protocolNumber.SCTP]: "sctp",
};

/**
 * Ways past a rule of a ClusterNetworkPolicy, of which the first that matches decides: a policy just before it that passes this connection on, for
 * this pod alone, or a rule before it in its own policy, for all the pods that the policy is for.
 */
export function* passes(world: World, object: Fields, connection: Connection, rule: RuleRef): Generator<Narrowed> {
  const { own, peer } = endsOf(connection, rule.section === "ingress" ? "ingress" : "egress");
  const entry = passOn(world, connection, rule, peer);
  if (entry === undefined) return;
  const [spec, text] = [objectOf(object.spec), formatRuleRef(rule)];
  const { tier, priority } = spec;
  if (own.kind === "pod" && typeof priority === "number" && priority > 0) {
    const name = freeName(surroundingsOf(world), rule.kind, "", `pass-${nameOf(connection.from)}-to-${nameOf(connection.to)}`);
    const alone = { tier, priority: priority - 1, subject: { pods: podsOf(world, own) }, [rule.section]: [entry] };
    const made = { apiVersion: object.apiVersion, kind: rule.kind, metadata: { name }, spec: alone };
    yield {
      objects: [made],
      summary: [`new: ${titleOf(made)}, which goes before ${text} and leaves this to the other policies`],
      entries: 1,
    };
  }
  const changed = { ...object, spec: { ...spec, [rule.section]: listOf(spec[rule.section]).toSpliced(rule.index, 0, entry) } };
  const summary = `changed: ${text} is passed by, for this connection: a rule before it leaves that to the other policies`;
  yield { objects: [changed], summary: [summary], entries: 2 };
}

function passOn(world: World, { protocol, port }: Connection, rule: RuleRef, peer: Party): Fields | undefined {
  const field = protocolFields[protocol];
  const blocks = peer.kind === "outside" && rule.section === "egress" ? blocksOf(peer) : [];
  if (peer.kind !== "pod" && blocks.length === 0) return undefined;
  return {
    name: "pass-on",
    action: "Pass",
    [rule.section === "ingress" ? "from" : "to"]: [peer.kind === "pod" ? { pods: podsOf(world, peer) } : { networks: blocks }],
    // It knows no other protocols than these: for ICMP all is passed on.
    ...(field === undefined ? {} : { protocols: [{ [field]: { destinationPort: { number: port } } }] }),
  };
}

function podsOf(world: World, party: Party & { readonly kind: "pod" }): Fields {
  const namespace = party.subject.labels.get("k8s", labelKey.namespace)?.value ?? "default";
  return {
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
    podSelector: { matchLabels: ownLabels(surroundingsOf(world), party) },
  };
}
