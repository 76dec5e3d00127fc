import { useState } from "preact/hooks";
import { allowingPolicy } from "../domain/allow.ts";
import { deniedBy, type Endpoint, type Explanation, type Flow, isDenied, ruleText } from "../domain/flow.ts";

interface DetailsProps {
  readonly flow: Flow;
  readonly close: () => void;
  /** Opens a text in the editor. */
  readonly edit: (text: string) => void;
}

/** Everything about one flow; for a denied one why, and a policy that would allow it. */
export function Details({ flow, close, edit }: DetailsProps) {
  const denied = isDenied(flow) || flow.verdict === "AUDIT";
  const policy = denied ? allowingPolicy(flow) : undefined;
  return (
    <aside class="details" aria-label="Flow details">
      <button type="button" class="close" aria-label="Close (Escape)" onClick={close}>
        ✕
      </button>
      <h2 class={denied ? "denied" : "forwarded"}>{flow.verdict?.toLowerCase()}</h2>
      {denied && <Reason flow={flow} hasPolicy={policy !== undefined} />}
      {policy && <AllowThis policy={policy} edit={edit} />}
      <dl>
        <Row name="Time" value={flow.time} />
        <Row name="What" value={flow.Summary} />
        <Row name="Drop reason" value={flow.drop_reason_desc} />
        <Row name="Direction" value={flow.traffic_direction?.toLowerCase()} />
        <Row name="Allowed by" value={allowedBy(flow)} />
        <Row name="Node" value={flow.node_name} />
      </dl>
      <End title="Source" endpoint={flow.source} ip={flow.IP?.source} names={flow.source_names} />
      <End title="Destination" endpoint={flow.destination} ip={flow.IP?.destination} names={flow.destination_names} />
    </aside>
  );
}

interface ReasonProps {
  readonly flow: Flow;
  /** Whether a policy to copy is shown. */
  readonly hasPolicy: boolean;
}

function Reason({ flow: { extensions, ...flow }, hasPolicy }: ReasonProps) {
  const { rules = [], lines = [], nearest = [], fix } = extensions ?? {};
  // A policy on the command line, for terminals: the one to copy says the same.
  const isCommand = fix?.startsWith("kubectl ") === true;
  const policies = rules.length > 0 ? rules.map(ruleText) : deniedBy(flow);
  return (
    <section aria-label="Why">
      <h3>Why</h3>
      <ul>
        {policies.map((text) => (
          <li key={text}>{text}</li>
        ))}
      </ul>
      {lines.map((line) => (
        <p key={line}>{line}</p>
      ))}
      {nearest.length > 0 && <h3>Nearest rules</h3>}
      {[...byRule(nearest)].map(([rule, reasons]) => (
        <div key={rule} class="nearest">
          <strong>{rule}</strong>
          <ul>
            {reasons.map((reason) => (
              <li key={reason}>{reason}</li>
            ))}
          </ul>
        </div>
      ))}
      {fix && !(isCommand && hasPolicy) && (isCommand ? <pre class="fix">{fix}</pre> : <p class="fix">{fix}</p>)}
    </section>
  );
}

// One rule may have come near several times, once for each of its HTTP rules.
function byRule(nearest: NonNullable<Explanation["nearest"]>): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { rule = {}, reasons = [] } of nearest) found.set(ruleText(rule), [...(found.get(ruleText(rule)) ?? []), ...reasons]);
  return found;
}

function AllowThis({ policy, edit }: { readonly policy: string; readonly edit: (text: string) => void }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(policy);
    setCopied(true);
  };
  return (
    <section aria-label="Allow this">
      <h3>
        Allow this{" "}
        <button type="button" onClick={copy}>
          {copied ? "Copied" : "Copy"}
        </button>{" "}
        <button type="button" onClick={() => edit(policy)}>
          Edit
        </button>
      </h3>
      <pre>{policy}</pre>
    </section>
  );
}

interface EndProps {
  readonly title: string;
  readonly endpoint: Endpoint | undefined;
  readonly ip: string | undefined;
  readonly names: readonly string[] | undefined;
}

function End({ title, endpoint, ip, names }: EndProps) {
  return (
    <section aria-label={title}>
      <h3>{title}</h3>
      <dl>
        <Row name="Pod" value={endpoint?.pod_name && `${endpoint.namespace}/${endpoint.pod_name}`} />
        <Row name="Address" value={ip} />
        <Row name="Names" value={names?.join(", ")} />
        <Row name="Identity" value={endpoint?.identity ? String(endpoint.identity) : undefined} />
        <Row name="Labels" value={endpoint?.labels?.join(" ")} />
      </dl>
    </section>
  );
}

function Row({ name, value }: { readonly name: string; readonly value: string | undefined }) {
  return value ? (
    <>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </>
  ) : null;
}

function allowedBy({ egress_allowed_by, ingress_allowed_by }: Flow): string {
  return [...(egress_allowed_by ?? []), ...(ingress_allowed_by ?? [])].map(ruleText).join(", ");
}
