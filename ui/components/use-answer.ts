import { useEffect, useState } from "preact/hooks";

/** What a question to the server has led to so far. The last answer stays while the next is on its way. */
export interface Asked<T> {
  readonly value: T | undefined;
  /** In words; empty when there is none. */
  readonly failure: string;
  readonly waiting: boolean;
}

/** Asks again whenever `question` changes (and `delayMs` have passed without another change), and every `everyMs`. Undefined asks nothing. */
export function useAnswer<T>(
  question: string | undefined,
  ask: (signal: AbortSignal) => Promise<T>,
  { delayMs = 0, everyMs }: { readonly delayMs?: number; readonly everyMs?: number } = {},
): Asked<T> {
  const [asked, setAsked] = useState<Asked<T>>({ value: undefined, failure: "", waiting: true });
  // `ask` is another function in each drawing; `question` says when it asks something else.
  useEffect(() => {
    if (question === undefined) {
      setAsked({ value: undefined, failure: "", waiting: false });
      return;
    }
    const gone = new AbortController();
    setAsked((before) => ({ ...before, waiting: true }));
    const start = () => {
      ask(gone.signal).then(
        (value) => setAsked({ value, failure: "", waiting: false }),
        (thrown: unknown) => {
          if (gone.signal.aborted) return;
          setAsked((before) => ({ ...before, failure: thrown instanceof Error ? thrown.message : String(thrown), waiting: false }));
        },
      );
    };
    const first = setTimeout(start, delayMs);
    const timer = everyMs === undefined ? undefined : setInterval(start, everyMs);
    return () => {
      gone.abort();
      clearTimeout(first);
      clearInterval(timer);
    };
  }, [question]);
  return asked;
}
