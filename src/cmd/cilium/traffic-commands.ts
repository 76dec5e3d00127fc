import type { Command } from "commander";
import { exitStatus, type Flags, type GlobalFlags, OUTPUT, showOr2, withWorldFlags, worldFlags } from "./command-flags.ts";

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
counts nothing: it is shadowed (others cover it), selects no pod, matches nobody, or a narrower rule decides and counts in its stead.
When \`policy lint\` (L10) calls that narrower rule redundant, take out one of the two, not both.

${exitStatus()}`,
    )
    .action(async (policies: string[], flags: Flags) => {
      const { policyUsage } = await import("./policy-usage.ts");
      const unusedFor = typeof flags.unusedFor === "string" ? { unusedFor: flags.unusedFor } : {};
      await showOr2(policyUsage(policies, { ...global(), ...output(flags), ...unusedFor }));
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
AUDIT and counted, requests and names that its application rules would refuse too. Promoting removes the annotation. The same annotation
on a Namespace puts all its pods into audit mode, on a pod this one, as does
\`cilium endpoint config NAMESPACE/POD PolicyAuditMode=Enabled\`: what keeps a promoted policy in audit mode is named, with the command that ends it.

${exitStatus("something else still audits it, or, with --dry-run, it would have denied what was seen")}`,
    )
    .action(async (policies: string[], flags: Flags) => {
      const { policyPromote } = await import("./policy-promote.ts");
      await showOr2(policyPromote(policies, { ...global(), ...output(flags), dryRun: flags.dryRun === true }));
    });
  withFlowFlags(withWorldFlags(policy.command("what-if [file...]")))
    .description("replays recorded flows against the present policies with these files applied: what would newly be denied, or allowed?")
    .option("--remove <policy...>", "policies that would be gone: [namespace/]name or kind/[namespace/]name")
    .addHelpText(
      "after",
      `
The present policies are the cluster's, or those of --policies; the pods of the flows come with the flows. Traffic is judged at both of
its ends, requests by the HTTP and DNS rules. A policy in audit mode counts as if it were enforced when it is among the files.
${exitStatus("something that worked would be denied")}

  cilium policy what-if new.yaml --since 1h
  hubble observe --last 10000 -o json > flows.json
  cilium policy what-if new.yaml --flows flows.json --policies present/`,
    )
    .action(async (files: string[], flags: Flags) => {
      const { policyWhatIf } = await import("./policy-what-if.ts");
      const remove = Array.isArray(flags.remove) ? flags.remove : [];
      await showOr2(policyWhatIf(files, { ...global(), ...output(flags), ...worldFlags(flags), ...flowFlags(flags), remove }));
    });
  withFlowFlags(policy.command("learn"))
    .description(
      "least-privilege policies from recorded flows, as YAML to apply, with the proof that they allow what was seen and nothing else",
    )
    .addOption(OUTPUT())
    .addHelpText(
      "after",
      `
--namespace names the namespace to learn for here; without it, every namespace but kube-system. Pods are named by their labels, ports are
those of the pods, addresses outside by the names that they were asked for; answers and what was only ever dropped teach nothing.
The proof replays every connection and request against the policies, and variations that were not seen: other ports, protocols, peers,
methods, paths and names.

${exitStatus("the proof does not hold")}

  cilium policy learn --namespace shop --since 1h > learned.yaml
  kubectl apply -f learned.yaml`,
    )
    .action(async (flags: Flags, command: Command) => {
      const { policyLearn } = await import("./policy-learn.ts");
      const { namespace, ...others } = global();
      const root = rootOf(command);
      // The flag of every command is where Cilium runs; here it says whose policies are wanted.
      const wanted = root.getOptionValueSource("namespace") === "cli" ? { wanted: namespace } : {};
      await showOr2(policyLearn({ ...others, namespace: "kube-system", ...output(flags), ...flowFlags(flags), ...wanted }));
    });
}

function rootOf(command: Command): Command {
  return command.parent === null ? command : rootOf(command.parent);
}

/** Where recorded flows come from. */
function withFlowFlags(command: Command): Command {
  return command
    .option("--flows <file...>", "recorded flows: files of `hubble observe -o json`, - for standard input; without, Hubble Relay is asked")
    .option("--since <time>", "flows of the relay from then on: a duration such as 1h, or RFC 3339", "1h")
    .option("--server <address>", "Hubble Relay's address (default: $HUBBLE_SERVER, else by way of the cluster)");
}

function flowFlags(flags: Flags) {
  const text = (name: string) => (typeof flags[name] === "string" ? flags[name] : undefined);
  return { flows: Array.isArray(flags.flows) ? flags.flows : [], since: text("since") ?? "1h", server: text("server") };
}
