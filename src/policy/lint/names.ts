import { fqdnLabelKey } from "#fqdn/pattern.ts";
import { parseAddress } from "#types/addr.ts";
import { protocolNumber } from "#types/proto.ts";
import type { PortRule } from "../rule.ts";
import { rulePath } from "../world/objects.ts";
import type { WorldPolicy } from "../world/world.ts";
import type { Finding } from "./finding.ts";

type Said = Pick<Finding, "severity" | "message" | "fix">;

/** Domains whose names have several labels before them. */
const deepDomains = /^\*\.(amazonaws\.com|windows\.net|azure\.com|googleusercontent\.com|aliyuncs\.com)$/i;

/** Names and patterns of names that stand for more, or for less, than they look like. */
export function* lintNames({ parsed, from }: WorldPolicy): Generator<Finding> {
  for (const rule of parsed.rules) {
    const at = { id: "L11", policy: parsed.ref, rule: rule.origin } as const;
    const names = new Set(rule.peers.flatMap(({ fqdn }) => (fqdn === undefined ? [] : [fqdnLabelKey(fqdn)])));
    for (const name of names) for (const said of [tooWide(name), tooNarrow(name), insideCluster(name)]) if (said) yield { ...at, ...said };
    for (const [i, ports] of (rule.ports ?? []).entries()) {
      const path = `${rulePath(from.object, rule.origin)}.toPorts[${i}].serverNames`;
      for (const said of serverNames(ports)) yield { ...at, path, ...said };
    }
  }
}

function* serverNames({ serverNames: names, ports }: PortRule): Generator<Said> {
  if (names.length > 0 && ports.length > 0 && !ports.some(({ protocol }) => protocol === protocolNumber.TCP)) {
    const message = "server names are read from TLS over TCP; on another protocol none is ever found, and nothing passes";
    yield { severity: "warning", message, fix: "write protocol: TCP, or leave serverNames out" };
  }
  for (const name of names.filter((one) => /[/:]/.test(one))) {
    const message = `the server name "${name}" is nobody's: a TLS client names a host, without scheme, port or path`;
    yield { severity: "warning", message, fix: "write the name alone" };
  }
}

function tooWide(name: string): Said | undefined {
  if (/^\*+\.?$/.test(name)) {
    const message = `the pattern "${name}" is every name, so the rule allows every address that was ever looked up`;
    return { severity: "warning", message, fix: "name the domains that are meant" };
  }
  if (/^\*+\.[a-z]+\.?$/i.test(name))
    return { severity: "warning", message: `the pattern "${name}" is a whole top-level domain`, fix: "name the domains that are meant" };
  if (/\.\*+\.?$/.test(name)) {
    const message = `the pattern "${name}" ends in a star: whoever owns that name in any top-level domain is of it`;
    return { severity: "warning", message, fix: "write the whole names" };
  }
  const rest = name.replace(/^\*+/, "");
  if (!/^\*+[a-z0-9]/i.test(name)) return undefined;
  const message = `the pattern "${name}" takes another's "bad${rest}", and not "www.${rest}": a star crosses no dot`;
  return { severity: "warning", message, fix: `write "*.${rest}" and the name itself` };
}

function tooNarrow(name: string): Said | undefined {
  if (parseAddress(name) !== undefined)
    return { severity: "warning", message: `"${name}" is an address, which no name ever is`, fix: `write it under toCIDR: ${name}/32` };
  if (!deepDomains.test(name)) return undefined;
  const message = `the pattern "${name}" takes one label: "s3.eu-west-1${name.slice(1)}" is not of it`;
  return { severity: "info", message, fix: `write "*${name}" for any depth` };
}

function insideCluster(name: string): Said | undefined {
  const fix = "select the pods by their labels (toEndpoints), or the service by its name (toServices)";
  if (/\.(svc|cluster\.local)\.?$/i.test(name)) {
    const message = `"${name}" is a service of the cluster: its traffic goes to pods, which names never select`;
    return { severity: "warning", message, fix };
  }
  if (!/^[a-z0-9_-]+\.?$/i.test(name)) return undefined;
  const message = `"${name}" has one label: pods ask for it with the cluster's search domains behind it, so as it is it is never looked up`;
  return { severity: "warning", message, fix };
}
