import { useMemo, useRef, useState } from "preact/hooks";
import { fetchWorkloads, type Problem, type Review, replayPolicies, reviewPolicies, type Workload } from "../data/policies.ts";
import { type Draft, drawn, type End, WORLD, written } from "../domain/draw.ts";
import type { View } from "../domain/view.ts";
import { Board } from "./board.tsx";
import { useAnswer } from "./use-answer.ts";
import { WhatIfResult } from "./what-if.tsx";

interface EditorProps {
  readonly view: View;
  readonly draft: Draft;
  readonly setDraft: (draft: Draft) => void;
}

const TYPING_MS = 300;
const WORKLOADS_AGAIN_MS = 10_000;

function endsOf(workloads: readonly Workload[]): Map<string, End> {
  const ends = workloads.map((workload): End => ({ ...workload, id: `${workload.namespace}/${workload.name}` }));
  return new Map([...ends, WORLD].map((end) => [end.id, end]));
}

/** The ends that the header's namespace and search leave, the world always. */
function shownEnds(ends: ReadonlyMap<string, End>, { namespace, text }: View): ReadonlyMap<string, End> {
  const words = text.toLowerCase().split(/\s+/);
  const isShown = (end: End) => (namespace === "" || end.namespace === namespace) && words.every((word) => end.id.includes(word));
  return new Map([...ends].filter(([, end]) => end === WORLD || isShown(end)));
}

/** A policy in the making: what is wrong with it as one types, whom it selects, what it allows, and what it would have done to recorded traffic. */
export function Editor({ view, draft, setDraft }: EditorProps) {
  const { text } = draft;
  const workloads = useAnswer("workloads", fetchWorkloads, { everyMs: WORKLOADS_AGAIN_MS });
  const ends = useMemo(() => endsOf(workloads.value ?? []), [workloads.value]);
  const area = useRef<HTMLTextAreaElement>(null);
  const empty = text.trim() === "";
  const review = useAnswer(empty ? undefined : text, (signal) => reviewPolicies(text, signal), { delayMs: TYPING_MS });
  const [replayed, setReplayed] = useState<string | undefined>();
  const since = view.since ?? Date.now() - view.window;
  const result = useAnswer(replayed, (signal) => replayPolicies(text, since, signal));
  const replay = () => setReplayed(`${Date.now()} ${text}`);
  const goTo = (line: number) => {
    const lines = text.split("\n");
    const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    area.current?.focus();
    area.current?.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
  };
  return (
    <section class="editor" aria-label="Policy editor">
      <div class="source">
        <Numbers text={text} problems={review.value?.problems ?? []} area={area} />
        <textarea
          ref={area}
          id="policy-text"
          aria-label="Policy as YAML"
          spellcheck={false}
          wrap="off"
          value={text}
          placeholder={"Paste, write or draw a policy.\nNothing is applied: the page can only read.\nCtrl+Enter: what if"}
          onInput={({ currentTarget }) => setDraft(written(currentTarget.value))}
          onScroll={({ currentTarget }) => {
            const numbers = currentTarget.previousElementSibling;
            if (numbers) numbers.scrollTop = currentTarget.scrollTop;
          }}
          onKeyDown={({ key, ctrlKey, metaKey }) => key === "Enter" && (ctrlKey || metaKey) && !empty && replay()}
        />
      </div>
      <div class="findings">
        {workloads.failure !== "" && (
          <p class="failure" role="alert">
            Nothing can be drawn: {workloads.failure}
          </p>
        )}
        {workloads.value && (
          <Board ends={shownEnds(ends, view)} arrows={draft.arrows} draw={(arrows) => setDraft(drawn(draft, arrows, ends))} />
        )}
        <p>
          <button type="button" id="what-if" disabled={empty} onClick={replay} title="Ctrl+Enter">
            What if?
          </button>{" "}
          tries it on the flows of the time that the header names.
        </p>
        {review.failure !== "" && (
          <p class="failure" role="alert">
            It cannot be looked at: {review.failure}
          </p>
        )}
        {replayed?.endsWith(` ${text}`) && <WhatIfResult asked={result} />}
        {!empty && review.value && <Findings review={review.value} goTo={goTo} />}
      </div>
    </section>
  );
}

interface NumbersProps {
  readonly text: string;
  readonly problems: readonly Problem[];
  readonly area: { readonly current: HTMLTextAreaElement | null };
}

function Numbers({ text, problems, area }: NumbersProps) {
  const worst = new Map(problems.map(({ line, severity }) => [line, severity] as const).reverse());
  return (
    <div class="numbers" aria-hidden="true" onClick={() => area.current?.focus()}>
      {text.split("\n").map((_, index) => (
        <div key={index} class={worst.get(index + 1) ?? ""}>
          {index + 1}
        </div>
      ))}
    </div>
  );
}

function Findings({ review: { problems, policies, allows }, goTo }: { readonly review: Review; readonly goTo: (line: number) => void }) {
  return (
    <>
      <h3>Problems</h3>
      {problems.length === 0 && <p class="forwarded">None found.</p>}
      <ul class="problems">
        {problems.map(({ severity, id, line, message, fix }) => (
          <li key={`${id} ${line} ${message}`} class={severity}>
            {line !== undefined && (
              <button type="button" onClick={() => goTo(line)}>
                line {line}
              </button>
            )}{" "}
            <strong>
              {severity} {id}
            </strong>{" "}
            {message}
            <div class="more">fix: {fix}</div>
          </li>
        ))}
      </ul>
      {policies.length > 0 && <h3>Selects</h3>}
      {policies.map(({ key, replaces, selects }) => (
        <p key={key}>
          <strong>{key}</strong>
          {replaces && <span class="audited"> replaces the cluster's</span>}: {selects.join(", ") || "nobody"}
        </p>
      ))}
      {allows.length > 0 && <h3>What it allows</h3>}
      {allows.map(({ subject, direction, peers }) => (
        <div key={`${subject} ${direction}`}>
          <strong>
            {direction === "ingress" ? "to" : "from"} {subject}
          </strong>
          {peers.length === 0 && <p class="denied">nothing {direction === "ingress" ? "from anybody" : "to anybody"}</p>}
          <ul>
            {peers.map(({ what, who }) => (
              <li key={what}>
                {what} {direction === "ingress" ? "from" : "to"} {who.join(", ")}
              </li>
            ))}
          </ul>
        </div>
      ))}
    </>
  );
}
