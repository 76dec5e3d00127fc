import { Command } from "commander";
import {
  exitStatus,
  type Flags,
  type GlobalFlags,
  OUTPUT,
  show,
  showOr2,
  withPodFlags,
  withWorldFlags,
  worldFlags,
} from "./command-flags.ts";
import type { Layout } from "./endpoint.ts";
import { addServiceCommands, addServiceMapCommands } from "./service-commands.ts";
import { addTrafficCommands } from "./traffic-commands.ts";

/** The node commands, which both programs have. */
export function addNodeCommands(program: Command, layout: Layout, signal: () => AbortSignal): void {
  const global = () => program.opts<GlobalFlags>();
  const output = (flags: Flags) => (typeof flags.output === "string" ? { output: flags.output } : {});

  const endpoint = program.command("endpoint").description("endpoints: the pods that the agents manage");
  endpoint
    .command("list")
    .description("all endpoints with identity, labels and policy enforcement")
    .option("-l, --labels <label>", "only endpoints with this label, such as k8s:app=web")
    .option("--no-headers", "without the line of headings")
    .addOption(OUTPUT())
    .action(async (flags: Flags) => {
      const { endpointList } = await import("./endpoint.ts");
      const labels = typeof flags.labels === "string" ? { labels: flags.labels } : {};
      await show(endpointList({ ...global(), ...output(flags), ...labels, layout, headers: flags.headers !== false }));
    });
  endpoint
    .command("get <id...>")
    .description("everything about endpoints: 1423, pod-name:NAMESPACE:POD or NAMESPACE/POD")
    .addOption(OUTPUT())
    .action(async (ids: string[], flags: Flags) => {
      const { endpointGet } = await import("./endpoint.ts");
      await show(endpointGet(ids, { ...global(), ...output(flags) }));
    });

  endpoint
    .command("config <id> [option=value...]")
    .description("the options of an endpoint (id as in get), and changes of them: PolicyAuditMode=Enabled | Disabled")
    .addOption(OUTPUT())
    .action(async (id: string, changes: string[], flags: Flags) => {
      const { endpointConfig } = await import("./endpoint.ts");
      await show(endpointConfig(id, changes, { ...global(), ...output(flags) }));
    });

  const identity = program.command("identity").description("security identities: label sets and their numbers");
  identity
    .command("list [labels...]")
    .description("all identities, or those with these labels")
    .addOption(OUTPUT())
    .action(async (labels: string[], flags: Flags) => {
      const { identityList } = await import("./identity.ts");
      await show(identityList(labels, { ...global(), ...output(flags), layout }));
    });
  identity
    .command("get <id>")
    .description("the labels of one identity")
    .addOption(OUTPUT())
    .action(async (id: string, flags: Flags) => {
      const { identityGet } = await import("./identity.ts");
      await show(identityGet(id, { ...global(), ...output(flags), layout }));
    });

  addPolicyCommands(program, global, output);
  addBpfCommands(program, global, output);
  addFqdnCommands(program, global, output);

  addServiceCommands(program, global, output, layout);
  addMetricsCommands(program, global, output);
  program
    .command("encrypt")
    .description("transparent encryption")
    .command("status")
    .description("mode, interface and peers")
    .action(async () => {
      const { askAgents } = await import("./agents.ts");
      const [answer] = await askAgents<{ encryption?: { mode?: string } }>("/v1/healthz", global());
      process.stdout.write(`Encryption: ${answer?.value.encryption?.mode ?? "Disabled"}\n`);
    });
  program
    .command("monitor")
    .description("packets, drops and policy verdicts as they happen")
    .option("-t, --type <type...>", "drop, trace, policy-verdict, l7, agent, trace-sock")
    .option("--from <endpoint>", "only events from this endpoint id")
    .option("--to <endpoint>", "only events to this endpoint id")
    .option("--related-to <endpoint>", "only events of this endpoint id")
    .option("-j, --json", "one JSON object a line")
    .option("-n, --numeric", "reserved identities as numbers")
    .action(async (flags: Flags) => {
      const { monitor } = await import("./monitor.ts");
      const text = (name: string) => (typeof flags[name] === "string" ? flags[name] : undefined);
      const [from, to, either] = [text("from"), text("to"), text("relatedTo")];
      const related = { ...(from ? { from } : {}), ...(to ? { to } : {}), ...(either ? { either } : {}) };
      const types = Array.isArray(flags.type) ? flags.type.flatMap((type) => type.split(",")) : [];
      await monitor({ ...global(), types, related, output: flags.json ? "json" : "text", numeric: flags.numeric === true }, signal());
    });
}

function addPolicyCommands(program: Command, global: () => GlobalFlags, output: (flags: Flags) => { output?: string }): void {
  const policy = program
    .command("policy")
    .description("network policies: what they decide, what they would, and what the agents have")
    .addHelpText("after", `\n${exitStatus("something was found: denied, different, invalid, would break")}`);
  policy
    .command("get")
    .description("the loaded rules and their revision")
    .addHelpText("after", `\n${exitStatus()}`)
    .addOption(OUTPUT())
    .action(async (flags: Flags) => {
      const { policyGet } = await import("./policy.ts");
      await showOr2(policyGet({ ...global(), ...output(flags) }));
    });
  policy
    .command("selectors")
    .description("the selectors in use and the identities that they match")
    .addHelpText("after", `\n${exitStatus()}`)
    .addOption(OUTPUT())
    .action(async (flags: Flags) => {
      const { policySelectors } = await import("./policy.ts");
      await showOr2(policySelectors({ ...global(), ...output(flags) }));
    });
  policy
    .command("validate <path...>")
    .description("check policies in files and directories without a cluster; - reads standard input")
    .addOption(OUTPUT())
    .addHelpText("after", `\n${exitStatus("a policy is not valid")}`)
    .action(async (paths: string[], flags: Flags) => {
      const { policyValidate } = await import("./policy.ts");
      await showOr2(policyValidate(paths, output(flags).output).then(({ text, valid }) => ({ text, ok: valid })));
    });
  withWorldFlags(policy.command("explain"))
    .description(
      "may one talk to the other? Both ends' verdicts, the rules that decide, what came nearest, and a patch that turns it around",
    )
    .requiredOption("--from <who>", "namespace/pod, namespace/workload, key=value, address, DNS name or entity")
    .requiredOption("--to <who>", "as --from, or svc/namespace/service")
    .requiredOption("--port <port>", "80, 53/udp, a port's name, 8/icmp")
    .option("--method <method>", "judge an HTTP request with this method")
    .option("--path <path>", "… with this path")
    .option("--host <host>", "… for this host")
    .option("--header <header...>", "… with this header, name: value")
    .option("--no-patch", "look for no patch")
    .addHelpText("after", `\n${exitStatus("denied")}`)
    .action(async (flags: Flags) => {
      const { policyExplain } = await import("./policy-explain.ts");
      const text = (name: string) => (typeof flags[name] === "string" ? flags[name] : undefined);
      const ends = { from: text("from") ?? "", to: text("to") ?? "", port: text("port") ?? "" };
      const http = {
        method: text("method"),
        path: text("path"),
        host: text("host"),
        headers: Array.isArray(flags.header) ? flags.header : [],
      };
      await showOr2(policyExplain({ ...global(), ...output(flags), ...worldFlags(flags), ...ends, ...http, patch: flags.patch !== false }));
    });
  withWorldFlags(policy.command("lint [path...]"), "json | yaml | sarif | jsonpath='{…}'")
    .description("what is legal in policies but probably not meant: those in files (as --policies), or the cluster's")
    .option("--fail-on <severity>", "exit status 1 from this on: error, warning, info or never", "error")
    .option("--flows <file>", "recorded flows (hubble observe -o json), for what only history shows")
    .addHelpText("after", `\n${exitStatus("a finding as bad as --fail-on says")}\ndocs/howto/policy-lint.md lists what is looked for.`)
    .action(async (paths: string[], flags: Flags) => {
      const { policyLint } = await import("./policy-lint.ts");
      const flows = typeof flags.flows === "string" ? { flows: flags.flows } : {};
      await showOr2(policyLint({ ...global(), ...output(flags), ...worldFlags(flags, paths), failOn: String(flags.failOn), ...flows }));
    });
  withPodFlags(policy.command("diff <before> <after>"))
    .description('what two sets of policies decide differently: files, directories or "cluster"')
    .addHelpText("after", `\n${exitStatus("there is a difference")}`)
    .action(async (before: string, after: string, flags: Flags) => {
      const { policyDiff } = await import("./policy-diff.ts");
      await showOr2(policyDiff({ ...global(), ...output(flags), pods: worldFlags(flags).pods, before, after }));
    });
  withWorldFlags(policy.command("matrix"), "table | csv | html | svg | json | yaml | jsonpath='{…}'")
    .description("who may send what to whom; html and svg are to look at")
    .option("--only <name...>", "only what has to do with these: a part of a name, such as a namespace")
    .addHelpText("after", `\n${exitStatus()}`)
    .action(async (flags: Flags) => {
      const { policyMatrix } = await import("./policy-matrix.ts");
      const only = Array.isArray(flags.only) ? { only: flags.only } : {};
      await showOr2(policyMatrix({ ...global(), ...output(flags), ...worldFlags(flags), ...only }));
    });
  policy
    .command("export <file...>")
    .description("policy files as YAML; with --portable, as every Cilium accepts them")
    .addHelpText("after", `\n${exitStatus()}`)
    .option("--portable", "replace what only Cilia understands")
    .action(async (files: string[], flags: { readonly portable?: boolean }) => {
      const { policyExport } = await import("./policy-files.ts");
      await showOr2((async () => policyExport(files, flags.portable === true))());
    });
  addTrafficCommands(policy, global, output);
}

function addFqdnCommands(program: Command, global: () => GlobalFlags, output: (flags: Flags) => { output?: string }): void {
  const fqdn = program.command("fqdn").description("names that pods resolve, and the policies that speak of them");
  const cache = fqdn.command("cache").description("names that pods have learned");
  const text = (flags: Flags, name: string) => (typeof flags[name] === "string" ? { [name]: flags[name] } : {});
  cache
    .command("list")
    .description("learned names and their addresses; -o wide adds node, pod and what remains of their time")
    .option("-p, --matchpattern <pattern>", "only names that match, such as *.example.com")
    .option("-e, --endpoint <id>", "only names of this endpoint")
    .option("-s, --source <source>", "lookup, or connection: expired, but in use")
    .addOption(OUTPUT())
    .action(async (flags: Flags) => {
      const { fqdnCacheList } = await import("./fqdn.ts");
      const pattern = typeof flags.matchpattern === "string" ? { matchPattern: flags.matchpattern } : {};
      await show(fqdnCacheList({ ...global(), ...output(flags), ...pattern, ...text(flags, "endpoint"), ...text(flags, "source") }));
    });
  cache
    .command("clean")
    .description("forget learned names: their addresses are closed until they are resolved again")
    .option("-p, --matchpattern <pattern>", "only names that match")
    .option("-f, --force", "without a question; there is none")
    .action(async (flags: Flags) => {
      const { fqdnCacheClean } = await import("./fqdn.ts");
      await show(fqdnCacheClean({ ...global(), ...(typeof flags.matchpattern === "string" ? { matchPattern: flags.matchpattern } : {}) }));
    });
  fqdn
    .command("names")
    .description("the selectors of names in policies")
    .addOption(OUTPUT())
    .action(async (flags: Flags) => {
      const { fqdnNames } = await import("./fqdn.ts");
      await show(fqdnNames({ ...global(), ...output(flags) }));
    });
}

function addMetricsCommands(program: Command, global: () => GlobalFlags, output: (flags: Flags) => { output?: string }): void {
  program
    .command("metrics")
    .description("what the agents count")
    .command("list")
    .description("all metrics of the agents")
    .option("-p, --match-pattern <pattern>", "only metrics whose name has this in it, a regular expression such as cilium_drop.*")
    .addOption(OUTPUT())
    .action(async (flags: Flags) => {
      const { metricsList } = await import("./metrics.ts");
      const pattern = typeof flags.matchPattern === "string" ? { matchPattern: flags.matchPattern } : {};
      await show(metricsList({ ...global(), ...output(flags), ...pattern }));
    });
}

function addBpfCommands(program: Command, global: () => GlobalFlags, output: (flags: Flags) => { output?: string }): void {
  const bpf = program.command("bpf").description("the kernel's maps");
  const listPolicy = (command: Command) =>
    command
      .option("-n, --numeric", "identities as numbers")
      .addOption(OUTPUT())
      .action(async (endpoint: string | undefined, flags: Flags) => {
        const { bpfPolicy } = await import("./bpf.ts");
        const wanted = endpoint === "all" ? undefined : endpoint;
        await show(bpfPolicy(wanted, { ...global(), ...output(flags), numeric: flags.numeric === true }));
      });
  const policy = bpf.command("policy").description("policy maps");
  listPolicy(policy.command("get [endpoint]").description("the policy map of an endpoint, by id; all without one"));
  listPolicy(policy.command("list [endpoint]").description("as get"));
  bpf
    .command("ipcache")
    .description("addresses and their identities")
    .command("list")
    .addOption(OUTPUT())
    .action(async (flags: Flags) => {
      const { bpfIpcache } = await import("./bpf.ts");
      await show(bpfIpcache({ ...global(), ...output(flags) }));
    });
  bpf
    .command("ct")
    .description("connection tracking")
    .command("list [scope]")
    .description("all tracked connections")
    .addOption(OUTPUT())
    .action(async (_scope: string | undefined, flags: Flags) => {
      const { bpfConntrack } = await import("./bpf.ts");
      await show(bpfConntrack({ ...global(), ...output(flags) }));
    });
  addServiceMapCommands(bpf, global, output);
  for (const [name, map] of [
    ["endpoint", "cilium_lxc"],
    ["metrics", "cilium_metrics"],
  ] as const) {
    bpf
      .command(name)
      .description(`the map ${map}`)
      .command("list")
      .addOption(OUTPUT())
      .action(async (flags: Flags) => {
        const { bpfMap } = await import("./bpf.ts");
        await show(bpfMap(map, { ...global(), ...output(flags) }));
      });
  }
}

/** Flags that every command understands. */
export function createProgram(name: string, about: string): Command {
  return new Command(name)
    .description(about)
    .option("--kubeconfig <file>", "kubeconfig of the cluster (default $KUBECONFIG)")
    .option("-n, --namespace <namespace>", "namespace that Cilium runs in", "kube-system")
    .option("--node <node>", "ask only the agent of this node")
    .showSuggestionAfterError()
    .configureHelp({ sortSubcommands: true })
    .exitOverride((error) => process.exit(error.code.startsWith("commander.help") || error.code === "commander.version" ? 0 : 2));
}
