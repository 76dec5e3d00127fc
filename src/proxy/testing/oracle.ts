/**
 * The requests of a stream by the grammar alone: slow, whole texts only, written without looking at the parser. What it does not match is
 * refused or incomplete.
 */
export function oracleRequests(text: string): { readonly requests: readonly string[]; readonly rest: string } {
  const requests: string[] = [];
  let rest = text;
  for (;;) {
    const head = HEAD.exec(rest);
    if (head === null) return { requests, rest };
    const [whole, method = "", target = "", minor = "", fields = ""] = head;
    const headers = fields.split("\r\n").slice(0, -1).map(splitField);
    const body = isSane(method, target, minor, headers) ? bodyLength(headers, minor, rest.slice(whole.length)) : undefined;
    if (body === undefined || whole.length > 60 * 1024 + 2 || headers.length > 100) return { requests, rest };
    requests.push(`${method} ${target} ${valuesOf(headers, "host")[0] ?? ""} ${body}`);
    rest = rest.slice(whole.length + body);
  }
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]";
const HEAD = new RegExp(
  `^(?:\\r\\n)?(${TOKEN}{1,32}) ([\\x21\\x22\\x24-\\x7e]+) HTTP/1\\.([01])\\r\\n((?:${TOKEN}+:[\\t\\x20-\\x7e\\x80-\\xff]*\\r\\n)*)\\r\\n`,
);

type Field = readonly [name: string, value: string];

function splitField(line: string): Field {
  const at = line.indexOf(":");
  const name = line.slice(0, at).toLowerCase();
  const around = /^(?:content-length|transfer-encoding)$/.test(name) ? /^ +| +$/g : /^[ \t]+|[ \t]+$/g;
  return [name, line.slice(at + 1).replace(around, "")];
}

function valuesOf(headers: readonly Field[], name: string): readonly string[] {
  return headers.filter(([found]) => found === name).map(([, value]) => value);
}

function isSane(method: string, target: string, minor: string, headers: readonly Field[]): boolean {
  const hosts = valuesOf(headers, "host");
  if (hosts.length > 1 || (hosts.length === 0 && minor === "1")) return false;
  const host = hosts[0] ?? "";
  if (!/^(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?$/.test(host)) return false;
  const expectations = valuesOf(headers, "expect");
  if (expectations.length > 1 || expectations.some((value) => value.toLowerCase() !== "100-continue")) return false;
  if (method === "CONNECT") return target === host && /:[0-9]{1,5}$/.test(target);
  if (target === "*") return method === "OPTIONS";
  if (target.includes("%00")) return false;
  if (target.startsWith("/")) return true;
  const prefix = `http://${host.toLowerCase()}/`;
  return host !== "" && target.toLowerCase().startsWith(prefix);
}

function bodyLength(headers: readonly Field[], minor: string, rest: string): number | undefined {
  const lengths = valuesOf(headers, "content-length");
  const codings = valuesOf(headers, "transfer-encoding");
  if (codings.length > 0) {
    const plain = lengths.length === 0 && minor === "1" && codings.length === 1 && codings[0]?.toLowerCase() === "chunked";
    return plain ? chunkedLength(rest) : undefined;
  }
  if (lengths.length === 0) return 0;
  if (lengths.length > 1 || !/^[0-9]{1,15}$/.test(lengths[0] ?? "")) return undefined;
  return Number(lengths[0]) <= rest.length ? Number(lengths[0]) : undefined;
}

function chunkedLength(rest: string): number | undefined {
  let at = 0;
  for (;;) {
    const size = /^0*([0-9A-Fa-f]{1,13})\r\n/.exec(rest.slice(at, at + 256));
    if (size === null) return undefined;
    const length = Number.parseInt(size[1] ?? "", 16);
    at += size[0].length;
    if (length === 0) return rest.slice(at).startsWith("\r\n") ? at + 2 : undefined;
    if (rest.slice(at + length, at + length + 2) !== "\r\n") return undefined;
    at += length + 2;
  }
}
