import type { Command } from "commander";
import { type Flags, type GlobalFlags, OUTPUT, show } from "./command-flags.ts";

/** The policy commands that look at traffic: what rules have decided, and what others would. */
export function addTrafficCommands(policy: Command, global: () => GlobalFlags, output: (flags: Flags) => { output?: string }): void {
  policy
    .command("usage [policy...]")
    .description("what each rule has decided, counted in the kernel: packets, bytes, last hit; all policies, or these ([namespace/]name)")
    .option("--unused-for <duration>", "only rules that exist and have had no hit for so long, such as 30m, 1h or 7d")
    .addOption(OUTPUT())
    .addHelpText(
      "after",
      `
A connection counts with all its packets, both ways, for the rules that let it pass; what is denied counts for the rule that
denies, or for the policies behind the default deny. Rules that decide together each count the whole. NOTE says why a rule
counts nothing: it is shadowed (others cover it), selects no pod, or matches nobody.`,
    )
    .action(async (policies: string[], flags: Flags) => {
      const { policyUsage } = await import("./policy-usage.ts");
      const unusedFor = typeof flags.unusedFor === "string" ? { unusedFor: flags.unusedFor } : {};
      await show(policyUsage(policies, { ...global(), ...output(flags), ...unusedFor }));
    });
  policy
    .command("promote <policy...>")
    .description("end the audit mode of policies ([namespace/]name): from now on they deny; shows what they would have denied so far")
    .option("--dry-run", "only show")
    .addOption(OUTPUT())
    .addHelpText(
      "after",
      `
A policy with the annotation policy.cilium.io/audit-mode=enabled denies nothing; what it would deny is reported with the verdict
AUDIT and counted. Promoting removes the annotation. The same annotation on a Namespace puts all its pods into audit mode, and
\`cilium endpoint config NAMESPACE/POD PolicyAuditMode=Enabled\` one pod.`,
    )
    .action(async (policies: string[], flags: Flags) => {
      const { policyPromote } = await import("./policy-promote.ts");
      await show(policyPromote(policies, { ...global(), ...output(flags), dryRun: flags.dryRun === true }));
    });
}
