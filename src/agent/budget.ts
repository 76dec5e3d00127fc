/**
 * Lets work be done for at most this share of the time: what comes too early is not done. For what is good to have, on a path that an attacker may
 * make busy. `now` is in milliseconds and only ever grows.
 */
export function createBudget(share: number, now: () => number): <T>(work: () => T) => T | undefined {
  let next = 0;
  return (work) => {
    const start = now();
    if (start < next) return undefined;
    const result = work();
    const end = now();
    next = end + (end - start) * (1 / share - 1);
    return result;
  };
}
