import fc from "fast-check";

/*
 * Loaded into every test process: property tests try the same values in each run, so that a run that fails fails again. `FAST_CHECK_SEED=$RANDOM npm test -- unit` looks
 * for more.
 */
fc.configureGlobal({ seed: Number(process.env.FAST_CHECK_SEED ?? 1) });
