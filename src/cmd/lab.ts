import { Command, InvalidArgumentError } from "commander";
import type { LabOptions } from "#lab/config.ts";
import type { LabReport } from "#lab/control.ts";

interface UpFlags {
  readonly nodes?: number;
  readonly config?: string;
  readonly ipv6?: boolean;
  readonly apiPort?: number;
  readonly bare?: boolean;
  readonly images?: string;
  readonly wait: boolean;
  /** Whether to say how the lab is used; true by default. */
  readonly explain?: boolean;
}

function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value)) throw new InvalidArgumentError("a whole number is needed");
  return value;
}

/** The `cilium lab` commands. */
export function labCommand(signal: () => AbortSignal): Command {
  const lab = new Command("lab").description("a whole cluster on this machine: nodes and pods are namespaces, kubectl is real");
  lab
    .command("up")
    .description("start the lab and wait until its pods are ready")
    .option("--nodes <count>", "number of nodes, the control plane among them (default: 3)", parseCount)
    .option("--config <file>", "a cluster configuration in kind's format instead of --nodes")
    .option("--ipv6", "give pods, services and nodes IPv6 addresses too")
    .option("--api-port <port>", "port of the API server on 127.0.0.1 (default: 6443)", parseCount)
    .option("--bare", "without Cilium: install it with `cilium install`")
    .option("--images <kind>", "nginx and PostgreSQL: emulated, or real for Debian's own (default: emulated)")
    .option("--no-wait", "return as soon as the API server serves")
    .action((flags: UpFlags) => up(flags));
  lab.command("down").description("end the lab and remove all it made").action(down);
  lab
    .command("status")
    .description("nodes, their daemons and pods")
    .option("-o, --output <format>", "text or json", "text")
    .action((flags: { readonly output: string }) => status(flags.output));
  lab.command("env").description('shell variables to use the lab: eval "$(cilium lab env)"').action(env);
  lab
    .command("shell")
    .description("a shell on a node, or a command: `cilium lab shell cilia-worker -- curl -k https://10.96.0.1/livez`")
    .argument("<node>", "name of the node")
    .argument("[command...]", "what to run instead of bash, after --")
    .action(shell);
  lab
    .command("demo")
    .description("start the lab if needed and walk the policy progression: probes, verdicts, reasons")
    .option("--once", "end the lab afterwards")
    .action((flags: { readonly once?: boolean }) => demo(flags.once ?? false, signal()));
  return lab;
}

const READY_MS = 60_000;

async function up(flags: UpFlags): Promise<void> {
  const { checkMachine } = await import("#lab/preflight.ts");
  const { readLabConfig } = await import("#lab/config.ts");
  const { alreadyRunning, runningLab } = await import("#lab/lock.ts");
  const { prepareDebianImages } = await import("#lab/images/debian.ts");
  const { startDaemon, waitReady } = await import("#lab/client.ts");
  const { createProgress } = await import("#lab/progress.ts");
  const { nodes, config: configFile, ipv6, apiPort, bare, images } = flags;
  const options = Object.fromEntries(
    Object.entries({ nodes, configFile, ipv6, apiPort, bare, images }).filter(([, value]) => value !== undefined),
  ) as LabOptions;
  const plan = readLabConfig(options); // says what is wrong before anything is started
  for (const note of plan.notes) process.stderr.write(`note: ${note}\n`);
  checkMachine();
  const running = runningLab();
  if (running) throw alreadyRunning(running);
  const progress = createProgress(process.stderr);
  // In this process, as it has the user's proxy settings and the daemon has not.
  if (plan.images === "real") await prepareDebianImages((step) => progress.step(step));
  progress.step(`starting a lab of ${countNodes(plan.nodes.length)}`);
  await startDaemon(plan, (step) => progress.step(step));
  if (!flags.wait) {
    progress.done("the API server serves");
    return;
  }
  const report = await waitReady(READY_MS, (now) => progress.detail(readiness(now)));
  if (!report.ready) {
    progress.fail(`not ready after ${READY_MS / 1000} s`);
    process.stderr.write(`${unready(report).join("\n")}\nlogs: kubectl -n kube-system logs POD, /var/lib/cilia-lab/lab.log\n`);
    process.exitCode = 1;
    return;
  }
  progress.done(`lab ready: ${countNodes(plan.nodes.length)}`);
  if (flags.explain !== false)
    process.stdout.write('Use it:   eval "$(bin/cilium lab env)"   then kubectl, cilium, hubble\nEnd it:   bin/cilium lab down\n');
}

function countNodes(count: number): string {
  return `${count} node${count === 1 ? "" : "s"}`;
}

function pods(report: LabReport) {
  return report.nodes.flatMap((node) => node.pods.map((pod) => ({ ...pod, node: node.name })));
}

function readiness(report: LabReport): string {
  const all = pods(report);
  return `${report.nodes.filter((node) => node.ready).length}/${report.nodes.length} nodes, ${all.filter((pod) => pod.ready).length}/${all.length} pods ready`;
}

function unready(report: LabReport): string[] {
  const waiting = pods(report).filter((pod) => !pod.ready && pod.phase !== "Succeeded");
  return [
    ...waiting.map(
      (pod) => `  ${pod.namespace}/${pod.name} on ${pod.node}: ${pod.containers.map((one) => one.message ?? one.state).join(", ")}`,
    ),
    ...report.unscheduled.map((pod) => `  ${pod.namespace}/${pod.name}: ${pod.message}`),
  ];
}

async function demo(once: boolean, signal: AbortSignal): Promise<void> {
  const { stopLab } = await import("#lab/client.ts");
  const { alreadyRunning, runningLab } = await import("#lab/lock.ts");
  const { PROJECT } = await import("#lab/paths.ts");
  const running = runningLab();
  if (!running) await up({ wait: true, explain: false });
  else if (running.home !== PROJECT) throw alreadyRunning(running); // what it would show is not this checkout
  if (process.exitCode) return;
  const { runDemo } = await import("#lab/demo/demo.ts");
  process.exitCode = (await runDemo({ signal, out: process.stdout, progress: process.stderr, stays: !once })) ? 0 : 1;
  if (once) await stopLab();
}

async function down(): Promise<void> {
  const { stopLab } = await import("#lab/client.ts");
  process.stdout.write((await stopLab()) ? "the lab is gone\n" : "no lab is running\n");
}

async function status(format: string): Promise<void> {
  const { readReport } = await import("#lab/client.ts");
  const report = await readReport();
  if (format === "json") {
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    return;
  }
  const { formatReport } = await import("#lab/format.ts");
  process.stdout.write(formatReport(report));
}

async function env(): Promise<void> {
  const { labEnvironment } = await import("#lab/client.ts");
  const { runningLab } = await import("#lab/lock.ts");
  if (!runningLab()) process.stderr.write("no lab is running; start one with: cilium lab up\n");
  for (const [name, value] of Object.entries(labEnvironment()))
    process.stdout.write(`export ${name}='${value.replaceAll("'", "'\\''")}'\n`);
}

async function shell(node: string, command: readonly string[]): Promise<void> {
  const { runOnNode } = await import("#lab/shell.ts");
  process.exitCode = await runOnNode(node, command.length > 0 ? command : ["bash"]);
}
