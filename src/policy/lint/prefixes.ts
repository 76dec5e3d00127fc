import { parseAddress } from "#types/addr.ts";
import { type Prefix, parsePrefix, prefixContains, prefixHalves, prefixOf, prefixParts } from "#types/prefix.ts";
import { listOf, objectOf, textOf, valueAt } from "../parse/fields.ts";
import type { Fields } from "../parse/reading.ts";
import type { Rule, Section } from "../rule.ts";
import { rulePath } from "../world/objects.ts";
import { configOf } from "../world/settings.ts";
import type { World, WorldPolicy } from "../world/world.ts";
import type { Finding } from "./finding.ts";

/** An address block as its author wrote it. */
type Written = {
  readonly path: string;
  readonly text: string;
  readonly prefix: Prefix;
  readonly except: readonly Prefix[];
  readonly rule: Rule;
};

/** Address blocks that are something else than they look like: all of it excepted, of a family that is off, more than the one address. */
export function* lintPrefixes(world: World): Generator<Finding> {
  for (const policy of world.policies) {
    const all = policy.parsed.rules.flatMap((rule) => writtenIn(policy, rule));
    const open = new OpenBlocks(all);
    for (const block of all) {
      const at = { policy: policy.parsed.ref, rule: block.rule.origin, path: block.path };
      for (const said of [nothingLeft(block), familyOff(block, world), hostBits(block), outsideOnly(block, world), reopened(block, open)])
        if (said !== undefined) yield { ...at, ...said };
    }
  }
}

function writtenIn({ from }: WorldPolicy, rule: Rule): Written[] {
  const path = rulePath(from.object, rule.origin);
  const entry = objectOf(valueAt(from.object, path));
  return Object.entries(entry).flatMap(([field, value]) =>
    listOf(value).flatMap((one, i): Written[] => {
      const [at, block] = blockIn(field, one);
      const text = typeof block === "string" ? block : textOf(objectOf(block).cidr);
      const prefix = parsePrefix(text);
      const except = listOf(objectOf(block).except).map((each) => parsePrefix(textOf(each)));
      if (prefix === undefined) return [];
      return [{ path: `${path}.${field}[${i}]${at}`, text, prefix, except: except.filter((each) => each !== undefined), rule }];
    }),
  );
}

/** Where a block stands in an element of a list of peers, and the block: a text, or an object with exceptions. */
function blockIn(field: string, one: unknown): readonly [path: string, block: string | Fields | undefined] {
  if (/^(from|to)CIDR$/.test(field)) return ["", textOf(one)];
  if (/^(from|to)CIDRSet$/.test(field)) return ["", objectOf(one)];
  return field === "from" || field === "to" ? [".ipBlock", objectOf(objectOf(one).ipBlock)] : ["", undefined];
}

type Said = Pick<Finding, "id" | "severity" | "message" | "fix">;

function isCovered(prefix: Prefix, by: readonly Prefix[]): boolean {
  if (by.some((one) => prefixContains(one, prefix))) return true;
  const inside = by.filter((one) => prefixContains(prefix, one));
  return inside.length > 0 && prefixHalves(prefix).every((half) => isCovered(half, inside));
}

function nothingLeft({ prefix, except }: Written): Said | undefined {
  if (except.length === 0 || !isCovered(prefix, except)) return undefined;
  const message = `nothing is left of ${prefix}: its exceptions take all of it`;
  return { id: "L29", severity: "warning", message, fix: "narrow the exceptions, or take the block out" };
}

const isOn = (prefix: Prefix, { ipv4, ipv6 }: World["settings"]) => (prefixParts(prefix).family === 4 ? ipv4 : ipv6);

function familyOff({ prefix }: Written, { settings, objects }: World): Said | undefined {
  const { family } = prefixParts(prefix);
  if (isOn(prefix, settings)) return undefined;
  const severity = Object.keys(configOf(objects).data).length > 0 ? "warning" : "info";
  const message = `${prefix} matches nothing while IPv${family} is off`;
  return { id: "L29", severity, message, fix: `set enable-ipv${family}: true, if the cluster has IPv${family}` };
}

function hostBits({ text, prefix }: Written): Said | undefined {
  const [address = "", bits = ""] = text.split("/");
  if (parseAddress(address) === prefixParts(prefix).address) return undefined;
  const single = prefixParts(prefix).family === 4 ? "32" : "128";
  const message = `${text} is all of ${prefix}, not one address`;
  return { id: "L29", severity: "info", message, fix: `write ${prefix}, or ${address}/${single} for the one address (found /${bits})` };
}

function outsideOnly({ prefix, except }: Written, { settings, endpoints }: World): Said | undefined {
  if (prefixParts(prefix).bits > 0 || !isOn(prefix, settings) || endpoints.length === 0 || settings.policyCidrMatchMode.length > 0)
    return undefined;
  const less = except.length > 0 ? ", less the exceptions" : "";
  const message = `${prefix} is everything outside the cluster${less}: neither its pods nor its nodes`;
  return { id: "L04", severity: "info", message, fix: "none, if that is meant; everybody is the entity `all`" };
}

/** Blocks without exceptions, by what they are: one of them lets an exception of another block in again. */
class OpenBlocks {
  readonly #first = new Map<string, { readonly block: Written; readonly place: number }>();
  readonly #widths = new Set<number>();

  constructor(all: readonly Written[]) {
    for (const [place, block] of all.entries()) {
      const key = this.#keyOf(block.rule.origin.section, block.prefix);
      if (block.except.length > 0 || this.#first.has(key)) continue;
      this.#first.set(key, { block, place });
      this.#widths.add(prefixParts(block.prefix).bits);
    }
  }

  #keyOf(section: Section, prefix: Prefix): string {
    return `${section} ${prefix}`;
  }

  /** The first of a section that has all of a prefix. */
  around(section: Section, prefix: Prefix): Written | undefined {
    const { address, bits } = prefixParts(prefix);
    const widths = [...this.#widths].filter((width) => width <= bits);
    const found = widths.flatMap((width) => this.#first.get(this.#keyOf(section, prefixOf(address, width))) ?? []);
    return found.sort((a, b) => a.place - b.place)[0]?.block;
  }
}

/** An exception holds for its own block only. */
function reopened({ rule, except }: Written, open: OpenBlocks): Said | undefined {
  if (rule.action !== "allow") return undefined;
  for (const one of except) {
    const other = open.around(rule.origin.section, one);
    if (other === undefined) continue;
    const message = `the exception ${one} is allowed all the same, by ${other.prefix} (${other.path}): it holds for its own block only`;
    return { id: "L29", severity: "warning", message, fix: "take the other block out, or deny the exception" };
  }
  return undefined;
}
