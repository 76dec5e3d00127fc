import { fqdnLabelKey } from "#fqdn/pattern.ts";
import type { ParsedPolicy, Rule } from "../rule.ts";
import type { Finding } from "./finding.ts";

type Said = { readonly id: "L11" | "L17"; readonly severity: Finding["severity"]; readonly message: string; readonly fix: string };

/** Domains whose names have several labels before them. */
const deepDomains = /^\*\.(amazonaws\.com|windows\.net|azure\.com|googleusercontent\.com|aliyuncs\.com)$/i;

/** Patterns of names and of requests that match more or less than they look like. */
export function* lintPatterns({ ref, rules }: ParsedPolicy): Generator<Finding> {
  for (const rule of rules) {
    const names = new Set(rule.peers.flatMap(({ fqdn }) => (fqdn === undefined ? [] : [fqdnLabelKey(fqdn)])));
    for (const said of [...[...names].flatMap((name) => [...namePattern(name)]), ...httpPatterns(rule)])
      yield { ...said, policy: ref, rule: rule.origin };
  }
}

function* namePattern(pattern: string): Generator<Said> {
  const said = (severity: Said["severity"], message: string, fix: string): Said => ({ id: "L11", severity, message, fix });
  if (/^\*+\.?$/.test(pattern)) {
    yield said(
      "warning",
      `the pattern "${pattern}" is every name, so the rule allows every address that was ever looked up`,
      "name the domains that are meant",
    );
  } else if (/^\*+\.[a-z]+\.?$/i.test(pattern)) {
    yield said("warning", `the pattern "${pattern}" is a whole top-level domain`, "name the domains that are meant");
  } else if (/^\*+[a-z0-9]/i.test(pattern)) {
    const rest = pattern.replace(/^\*+/, "");
    yield said(
      "warning",
      `the pattern "${pattern}" takes another's "bad${rest}", and not "www.${rest}": a star crosses no dot`,
      `write "*.${rest}" and the name itself`,
    );
  } else if (deepDomains.test(pattern)) {
    yield said(
      "info",
      `the pattern "${pattern}" takes one label: "s3.eu-west-1${pattern.slice(1)}" is not of it`,
      `write "*${pattern}" for any depth`,
    );
  }
}

/** The dots that stand for themselves: neither in brackets, nor escaped already, nor repeated as in `.*`. */
function escapedDots(pattern: string): string {
  return pattern.replaceAll(/\\.|\[[^\]]*\]|\.(?![*+?{])/g, (found) => (found === "." ? "\\." : found));
}

function* httpPatterns(rule: Rule): Generator<Said> {
  const said = (message: string, fix: string): Said => ({ id: "L17", severity: "info", message, fix });
  for (const { method, path, host } of rule.ports?.flatMap((one) => one.l7?.http ?? []) ?? []) {
    if (path !== undefined && path.length > 1 && path.endsWith("/")) {
      yield said(`the path "${path}" matches just that path, as patterns match the whole path`, `write "${path}.*" for what lies below`);
    }
    if (path !== undefined && /(^|[a-z0-9/_-])\*/i.test(path)) {
      const fixed = path.replaceAll(/(^|[a-z0-9/_-])\*/gi, "$1.*");
      yield {
        ...said(`in the path "${path}" the star repeats the character before it: it is no wildcard`, `write "${fixed}"`),
        severity: "warning",
      };
    }
    if (method !== undefined && /^[a-z]+$/.test(method)) {
      yield {
        ...said(`the method "${method}" matches no request: methods are in capitals`, `write "${method.toUpperCase()}"`),
        severity: "warning",
      };
    }
    if (host !== undefined && /[a-z]\.[a-z]/i.test(host.replaceAll("\\.", ""))) {
      yield said(`the host "${host}" has a dot that stands for any character`, `write "${escapedDots(host)}"`);
    }
  }
}
