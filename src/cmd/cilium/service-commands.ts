import type { Command } from "commander";
import { type Flags, type GlobalFlags, OUTPUT, show } from "./command-flags.ts";
import type { Layout } from "./endpoint.ts";

type Output = (flags: Flags) => { output?: string };

/** `service` and `lrp`: what the agents know of services. */
export function addServiceCommands(program: Command, global: () => GlobalFlags, output: Output, layout: Layout): void {
  const service = program.command("service").description("services and their backends");
  service
    .command("list")
    .description("frontends, backends and names, as one agent has them; all program the same but for local redirects")
    .option("--problems", "services of which something could not be used, and why")
    .addOption(OUTPUT())
    .action(async (flags: Flags) => {
      const { serviceList, serviceProblems } = await import("./service.ts");
      const options = { ...global(), ...output(flags), layout };
      await show(flags.problems === true ? serviceProblems(options) : serviceList(options));
    });
  service
    .command("get <service>")
    .description("one frontend by its ID, or those of a service: NAMESPACE/NAME, or an address such as 10.96.0.1:443")
    .addOption(OUTPUT())
    .action(async (wanted: string, flags: Flags) => {
      const { serviceGet } = await import("./service.ts");
      await show(serviceGet(wanted, { ...global(), ...output(flags), layout }));
    });
  program
    .command("lrp")
    .description("local redirect policies")
    .command("list")
    .description("what each node's agent does because of them")
    .addOption(OUTPUT())
    .action(async (flags: Flags) => {
      const { redirectList } = await import("./service.ts");
      await show(redirectList({ ...global(), ...output(flags), layout }));
    });
}

/** `bpf lb` and `bpf nat`: what the kernel has of services. */
export function addServiceMapCommands(bpf: Command, global: () => GlobalFlags, output: Output): void {
  const lb = bpf.command("lb").description("the service maps");
  const listLb = (command: Command, fixed: Flags = {}) =>
    command.addOption(OUTPUT()).action(async (flags: Flags) => {
      const { bpfLb, LB_PARTS } = await import("./bpf-lb.ts");
      const part = LB_PARTS.find((name) => ({ ...flags, ...fixed })[name] === true) ?? "all";
      await show(bpfLb(part, { ...global(), ...output(flags) }));
    });
  listLb(
    lb
      .command("list")
      .description("frontends and what they lead to; another map with an option")
      .option("--frontends", "frontends with their number of backends and flags")
      .option("--backends", "backends with their state")
      .option("--revnat", "the address that each frontend's answers come from")
      .option("--source-ranges", "who may call a load balancer address")
      .option("--affinity", "backends that keep their clients")
      .option("--maglev", "places of each backend in the Maglev tables"),
  );
  listLb(lb.command("maglev").description("Maglev tables").command("list"), { maglev: true });
  listLb(lb.command("source-range").description("source ranges").command("list"), { sourceRanges: true });
  bpf
    .command("nat")
    .description("translated connections")
    .command("list")
    .description("ports lent to callers from outside, and answers of DSR")
    .addOption(OUTPUT())
    .action(async (flags: Flags) => {
      const { bpfNat } = await import("./bpf-lb.ts");
      await show(bpfNat({ ...global(), ...output(flags) }));
    });
}
