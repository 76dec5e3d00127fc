import type { AgentConfig } from "./config.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import { ApiError } from "./http.ts";
import { MONITOR_LEVELS } from "./kernel.ts";

/** The settings that can be changed while the agent runs, by upstream's names. They last until the next restart. */
export interface RuntimeOptions {
  read(): Readonly<Record<string, string>>;
  /** Changes those that are there. Throws `ApiError` 400 that names the option and what is allowed. */
  change(options: Readonly<Record<string, unknown>>): void;
}

const ENFORCEMENT = ["default", "always", "never"] as const;

export function createRuntimeOptions(deps: EdgeDeps, config: AgentConfig): RuntimeOptions {
  const { state, control, kernel } = deps;
  let aggregation = config["monitor-aggregation"];
  const setters: Readonly<Record<string, (value: string) => void>> = {
    PolicyAuditMode(value) {
      const on = isEnabled("PolicyAuditMode", value);
      if (on === state.audit.on) return;
      state.audit.on = on;
      for (const { id } of [...state.endpoints.list()]) control.regenerate(id);
    },
    PolicyEnforcement: (value) => state.controller.setEnforcement(oneOf("PolicyEnforcement", value, ENFORCEMENT)),
    MonitorAggregationLevel(value) {
      aggregation = oneOf("MonitorAggregationLevel", value, MONITOR_LEVELS);
      kernel.datapath.maps.runtimeConfig.set(0, {
        monitorAggregationPlusOne: MONITOR_LEVELS.indexOf(aggregation as "none") + 1,
        reserved: 0,
      });
    },
  };
  return {
    read: () => ({
      PolicyAuditMode: state.audit.on ? "Enabled" : "Disabled",
      PolicyEnforcement: state.controller.repository.settings.enforcement,
      MonitorAggregationLevel: aggregation,
    }),
    change(options) {
      for (const [name, value] of Object.entries(options)) {
        const set = setters[name];
        if (!set) throw new ApiError(400, `option "${name}": allowed are ${Object.keys(setters).join(", ")}`);
        set(String(value));
      }
    },
  };
}

/** `Enabled`, `true` and the like. */
export function isEnabled(name: string, text: string): boolean {
  if (["enabled", "true", "on"].includes(text.toLowerCase())) return true;
  if (["disabled", "false", "off"].includes(text.toLowerCase())) return false;
  throw new ApiError(400, `${name}: found "${text}", allowed are Enabled and Disabled`);
}

function oneOf<Value extends string>(name: string, text: string, allowed: readonly Value[]): Value {
  const found = allowed.find((value) => value === text.toLowerCase());
  if (found === undefined) throw new ApiError(400, `${name}: found "${text}", allowed are ${allowed.join(", ")}`);
  return found;
}
