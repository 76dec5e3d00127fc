import type { Group, WhatIf } from "../data/policies.ts";
import type { Asked } from "./use-answer.ts";

/** What a proposed policy would have done to recorded traffic, by pairs of workloads. */
export function WhatIfResult({ asked: { value, failure, waiting } }: { readonly asked: Asked<WhatIf> }) {
  if (waiting) return <p role="status">Replaying the recorded flows…</p>;
  if (failure !== "")
    return (
      <p class="failure" role="alert">
        No answer: {failure}
      </p>
    );
  if (value === undefined) return null;
  const { denied, allowed, uncertain, unchanged, contradictions, flows } = value;
  return (
    <section aria-label="What if">
      <h3>What if</h3>
      <Groups title="Newly denied" kind="denied" groups={denied} />
      <Groups title="Newly allowed" kind="forwarded" groups={allowed} />
      <Groups title="Uncertain" kind="audited" groups={uncertain} />
      <p role="status">
        {flows} flows replayed: {unchanged} connections and requests fare as before, {denied.length} would break.
        {flows === 0 && " No flow was recorded: this says nothing about the policy."}
        {contradictions > 0 && ` ${contradictions} were recorded under other policies than those of now.`}
      </p>
    </section>
  );
}

function Groups({ title, kind, groups }: { readonly title: string; readonly kind: string; readonly groups: readonly Group[] }) {
  if (groups.length === 0) return null;
  return (
    <>
      <h4 class={kind}>{title}</h4>
      <ul>
        {groups.map(({ from, to, port, requests, flows, why }) => (
          <li key={`${from} ${to} ${port}`}>
            <strong>
              {from} → {to} {port}
            </strong>{" "}
            {flows} flows {requests.length > 0 && `(${requests.join(", ")})`}
            <div class="more">{why}</div>
          </li>
        ))}
      </ul>
    </>
  );
}
