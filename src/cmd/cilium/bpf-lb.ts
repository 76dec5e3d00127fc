import type { LbDump, LbSlot } from "#datapath/service-dump.ts";
import { type AskOptions, askAgents } from "./agents.ts";
import { formatOutput, formatTable } from "./output.ts";

type Options = AskOptions & { readonly output?: string };

/** What `bpf lb list` can show instead of everything. */
export const LB_PARTS = ["frontends", "backends", "revnat", "sourceRanges", "affinity", "maglev"] as const;

type Part = (typeof LB_PARTS)[number] | "all";

/** `bpf lb list`: the service maps as the kernel has them, upstream's layout. */
export async function bpfLb(part: Part, options: Options): Promise<string> {
  const answers = await askAgents<LbDump>("/v1/bpf/lb", options);
  if (options.output) return formatOutput(options.output, answers.length === 1 ? answers[0]?.value : answers);
  const sections = answers.map(({ node, value }) => (answers.length > 1 ? `Node ${node}:\n` : "") + TABLES[part](value));
  return sections.join("\n");
}

const TABLES: Readonly<Record<Part, (dump: LbDump) => string>> = {
  all: ({ slots }) => formatTable(["SERVICE ADDRESS", "BACKEND ADDRESS (REVNAT_ID) (SLOT)"], slots.map(slotRow)),
  frontends: ({ slots }) =>
    formatTable(
      ["ID", "SERVICE ADDRESS", "SCOPE", "BACKENDS", "QUARANTINED", "FLAGS"],
      slots
        .filter(({ slot }) => slot === 0)
        .map((one) => [String(one.serviceId), one.frontend, one.scope, String(one.count), String(one.quarantined), one.flags.join(", ")]),
    ),
  backends: ({ backends }) =>
    formatTable(
      ["ID", "BACKEND ADDRESS", "STATE"],
      backends.map(({ id, address, state }) => [String(id), address, state]),
    ),
  revnat: ({ reverseNat }) =>
    formatTable(
      ["ID", "ADDRESS"],
      reverseNat.map(({ id, address }) => [String(id), address]),
    ),
  sourceRanges: (dump) =>
    formatTable(
      ["SERVICE ADDRESS", "PREFIX"],
      dump.sourceRanges.map(({ id, prefix }) => [frontendOf(dump, id), prefix]),
    ),
  affinity: (dump) =>
    formatTable(
      ["SERVICE ADDRESS", "BACKEND ADDRESS"],
      dump.affinity.map(({ id, backendId }) => [frontendOf(dump, id), dump.backends.find((one) => one.id === backendId)?.address ?? "?"]),
    ),
  maglev: (dump) =>
    formatTable(
      ["SERVICE ADDRESS", "TABLE SIZE", "BACKEND ADDRESS", "PLACES", "SHARE"],
      dump.maglev.flatMap(({ id, size, places }) =>
        Object.entries(places).map(([backend, count], i) => [
          i === 0 ? frontendOf(dump, id) : "",
          i === 0 ? String(size) : "",
          backend,
          String(count),
          `${((100 * count) / size).toFixed(2)}%`,
        ]),
      ),
    ),
};

function frontendOf({ slots }: LbDump, id: number): string {
  return slots.find(({ serviceId }) => serviceId === id)?.frontend ?? `(service ${id})`;
}

function slotRow({ frontend, scope, slot, serviceId, flags, backend, backendId }: LbSlot): string[] {
  const address = `${frontend}${scope === "internal" ? "/i" : ""} (${slot})`;
  if (slot === 0) return [address, `${frontend.startsWith("[") ? "[::]" : "0.0.0.0"}:0 (${serviceId}) (0) [${flags.join(", ")}]`];
  const words = flags.length > 0 ? ` [${flags.join(", ")}]` : "";
  return [address, `${backend ?? `(backend ${backendId} is missing)`} (${serviceId}) (${slot})${words}`];
}

interface NatShape {
  readonly protocol: string;
  readonly direction: string;
  readonly source: string;
  readonly destination: string;
  readonly to: string;
  readonly flags: readonly string[];
  readonly service: string;
  readonly expires: number;
}

/** `bpf nat list`: a line for each translation. */
export async function bpfNat(options: Options): Promise<string> {
  const answers = await askAgents<NatShape[]>("/v1/bpf/nat", options);
  const rows = answers.flatMap(({ node, value }) => value.map((entry) => ({ node, ...entry })));
  if (options.output) return formatOutput(options.output, rows);
  const several = answers.length > 1;
  const cells = rows.map(({ node, protocol, direction, source, destination, to, flags, service, expires }) => [
    ...(several ? [node] : []),
    `${protocol} ${direction}`,
    `${source} -> ${destination}`,
    `XLATE_${direction === "OUT" ? "SRC" : "DST"} ${to}`,
    [...flags, ...(service === "" ? [] : [`service=${service}`]), `expires=${expires}s`].join(" "),
  ]);
  return formatTable([...(several ? ["NODE"] : []), "PROTOCOL", "CONNECTION", "TRANSLATION", "DETAILS"], cells);
}
