import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { type DatapathConfig, encodeConfig } from "#datapath/gen/config.ts";
import { loadObject, verifiedInstructions } from "./kernel.ts";

const GOLDEN = new URL("golden/complexity.json", import.meta.url);
/** The verifier gives up at a million; a program that comes near this has a defect of structure, not of size. */
const BUDGET = 100_000;
/** Compilers differ a little; growth beyond this is to be looked at and recorded with UPDATE_GOLDEN=1. */
const TOLERANCE = 0.1;

const objects = ["bpf_lxc", "bpf_host", "bpf_sock", "bpf_xdp", "bpf_http"] as const;
const switches: Readonly<Record<string, readonly number[]>> = {
  nodeIfindex: [0, 7],
  enableIpv4: [0, 1],
  enableIpv6: [0, 1],
  monitorAggregation: [0, 3],
  traceSock: [0, 1],
  // Without it, all other tests load them.
  enableHttp: [1],
};

function* permutations(): Generator<Partial<DatapathConfig>> {
  const names = Object.keys(switches);
  const total = names.reduce((product, name) => product * (switches[name]?.length ?? 1), 1);
  for (let i = 0; i < total; i++) {
    let rest = i;
    const config: Record<string, number> = {};
    for (const name of names) {
      const values = switches[name] ?? [];
      config[name] = values[rest % values.length] ?? 0;
      rest = Math.floor(rest / values.length);
    }
    yield config;
  }
  yield { eventsDrop: 0, eventsPolicyVerdict: 0, eventsTrace: 0 };
}

describe("the verifier", () => {
  for (const object of objects) {
    it(`accepts ${object} with every setting`, () => {
      const worst: Record<string, number> = {};
      for (const config of permutations()) {
        const loaded = loadObject(object, encodeConfig(object, config));
        for (const [name, fd] of Object.entries(loaded.programs)) worst[name] = Math.max(worst[name] ?? 0, verifiedInstructions(fd));
        loaded.close();
      }
      const golden = JSON.parse(readFileSync(GOLDEN, "utf8")) as Record<string, number>;
      if (process.env.UPDATE_GOLDEN) {
        mkdirSync(new URL(".", GOLDEN), { recursive: true });
        const all = Object.entries({ ...golden, ...worst }).sort(([a], [b]) => (a < b ? -1 : 1));
        writeFileSync(GOLDEN, `${JSON.stringify(Object.fromEntries(all), null, 2)}\n`);
        return;
      }
      for (const [name, count] of Object.entries(worst)) {
        const before = golden[name];
        assert.ok(count < BUDGET, `${name}: ${count} instructions verified`);
        assert.ok(before !== undefined, `${name} is new: run with UPDATE_GOLDEN=1`);
        assert.ok(
          count <= before * (1 + TOLERANCE),
          `${name}: ${count} instructions verified, ${before} before: run with UPDATE_GOLDEN=1 if that is right`,
        );
      }
    });
  }
});
