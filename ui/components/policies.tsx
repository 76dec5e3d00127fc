import { fetchPolicies, fetchPolicy, type PolicyRow } from "../data/policies.ts";
import type { View } from "../domain/view.ts";
import { useAnswer } from "./use-answer.ts";

interface PoliciesProps {
  readonly view: View;
  readonly change: (part: Partial<View>) => void;
  /** Opens a text in the editor. */
  readonly edit: (text: string) => void;
}

const AGAIN_MS = 10_000;
const KINDS: Readonly<Record<string, string>> = {
  CiliumNetworkPolicy: "cnp",
  CiliumClusterwideNetworkPolicy: "ccnp",
  NetworkPolicy: "netpol",
  ClusterNetworkPolicy: "cnetpol",
};

/** Which policies there are, whom they select, what each rule has decided, and their YAML. The header's namespace and search filter them. */
export function Policies({ view, change, edit }: PoliciesProps) {
  const { value, failure, waiting } = useAnswer("policies", fetchPolicies, { everyMs: AGAIN_MS });
  const shown = (value ?? []).filter(wantedBy(view));
  const open = value?.find(({ key }) => key === view.policy);
  return (
    <section class="policies" aria-label="Policies">
      {failure !== "" && (
        <p class="failure" role="alert">
          Policies cannot be read: {failure}
        </p>
      )}
      {shown.length > 0 && (
        <table>
          <thead>
            <tr>
              <th>Policy</th>
              <th>Selects</th>
              <th>Hits by rule</th>
              <th>Last hit</th>
              <th>State</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <Row key={row.key} row={row} selected={row.key === view.policy} select={() => change({ policy: row.key })} />
            ))}
          </tbody>
        </table>
      )}
      {shown.length === 0 && failure === "" && (
        <p class="empty">
          {waiting ? "Reading the policies…" : value?.length ? "No policy matches the filters." : "There are no policies."}
        </p>
      )}
      {open && <OpenPolicy row={open} close={() => change({ policy: "" })} edit={edit} />}
    </section>
  );
}

function wantedBy({ namespace, text }: View): (row: PolicyRow) => boolean {
  const words = text.toLowerCase().split(/\s+/);
  return (row) =>
    (namespace === "" || row.namespace === namespace || row.selects.some((title) => title.startsWith(`${namespace}/`))) &&
    words.every((word) => `${row.key} ${row.selects.join(" ")}`.toLowerCase().includes(word));
}

function Row({ row, selected, select }: { readonly row: PolicyRow; readonly selected: boolean; readonly select: () => void }) {
  return (
    <tr class={selected ? "selected" : ""} tabIndex={0} onClick={select} onKeyDown={({ key }) => key === "Enter" && select()}>
      <td>
        <strong>{titleOf(row)}</strong> <span class="more">{KINDS[row.kind] ?? row.kind}</span>
      </td>
      <td>{row.selects.length === 0 ? <span class="audited">nobody</span> : <Selected titles={row.selects} />}</td>
      <td>
        {row.rules.map(({ rule, hits }) => (
          <div key={rule} class={hits === 0 ? "unused" : ""}>
            {rule} <span class="hits">{hits}</span>
          </div>
        ))}
      </td>
      <td class="time">{row.lastHit === "" ? "never" : row.lastHit.slice(0, 19).replace("T", " ")}</td>
      <td>{stateOf(row)}</td>
    </tr>
  );
}

function titleOf({ namespace, name }: PolicyRow): string {
  return `${namespace === "" ? "" : `${namespace}/`}${name}`;
}

const MOST_TITLES = 6;

function Selected({ titles }: { readonly titles: readonly string[] }) {
  const more = titles.length - MOST_TITLES;
  return (
    <span title={titles.join(", ")}>
      {titles.slice(0, MOST_TITLES).join(", ")}
      {more > 0 && ` and ${more} more`}
    </span>
  );
}

function stateOf({ issues, audit, audited }: PolicyRow) {
  if (issues.length > 0) return <span class="denied">refused</span>;
  if (audit) return <span class="audited">audit: {audited} would be denied</span>;
  return <span class="forwarded">enforced</span>;
}

interface OpenProps {
  readonly row: PolicyRow;
  readonly close: () => void;
  readonly edit: (text: string) => void;
}

function OpenPolicy({ row, close, edit }: OpenProps) {
  const { value, failure } = useAnswer(row.key, (signal) => fetchPolicy(row.key, signal));
  const hits = new Map(
    row.rules.flatMap(({ rule, hits }) => (value?.lines[rule] === undefined ? [] : [[value.lines[rule], hits] as const])),
  );
  return (
    <aside class="details" aria-label="Policy">
      <button type="button" class="close" aria-label="Close (Escape)" onClick={close}>
        ✕
      </button>
      <h2>{titleOf(row)}</h2>
      {row.issues.map((issue) => (
        <p key={issue} class="denied">
          {issue}
        </p>
      ))}
      {failure !== "" && <p class="failure">{failure}</p>}
      <h3>Selects</h3>
      <p>{row.selects.join(", ") || "nobody"}</p>
      {value && (
        <>
          <h3>
            YAML{" "}
            <button type="button" onClick={() => edit(value.yaml)}>
              Edit a copy
            </button>
          </h3>
          <pre class="numbered">
            {value.yaml
              .trimEnd()
              .split("\n")
              .map((line, index) => (
                <div key={index}>
                  <span class="number">{index + 1}</span>
                  {line}
                  {hits.has(index + 1) && <span class="hits">{hits.get(index + 1)} hits</span>}
                </div>
              ))}
          </pre>
        </>
      )}
    </aside>
  );
}
