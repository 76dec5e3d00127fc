import { type ScalarTag, Schema } from "yaml";

/** The words that are true, and those that are false. */
const truths = /^(?:y|yes|on|true|Y|Yes|On|True|YES|ON|TRUE)$/;
const lies = /^(?:n|no|off|false|N|No|Off|False|NO|OFF|FALSE)$/;
const nothing = /^(?:~|null|Null|NULL)?$/;

const whole = /^([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9]\d*)$/;
const decimal = /^[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$/;
const endless = /^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/;

/** What a word is as a number: `0120` is octal 80, `8_080` is 8080, `08` is 8. Undefined when it is none. */
function numberOf(word: string): number | undefined {
  if (endless.test(word)) return word.endsWith("n") || word.endsWith("N") ? Number.NaN : word.startsWith("-") ? -Infinity : Infinity;
  if (word.startsWith("_")) return undefined;
  const plain = word.replaceAll("_", "");
  const [, sign, digits] = whole.exec(plain) ?? [];
  if (digits !== undefined) return Number(digits.replace(/^0(?=[0-7])/, "0o")) * (sign === "-" ? -1 : 1) + 0;
  const value = decimal.test(plain) ? Number(plain) : Number.NaN;
  return Number.isFinite(value) ? value : undefined;
}

function tag(name: string, test: RegExp | undefined, resolve: (word: string, refuse: (message: string) => void) => unknown): ScalarTag {
  return { tag: `tag:yaml.org,2002:${name}`, default: test !== undefined, resolve, ...(test === undefined ? {} : { test }) };
}

function booleanOf(word: string, refuse: (message: string) => void): unknown {
  if (truths.test(word)) return true;
  if (lies.test(word)) return false;
  refuse(`"${word}" is neither true nor false`);
  return word;
}

/** A word that a tag says is a number. */
function taggedNumber(word: string, refuse: (message: string) => void): unknown {
  const value = numberOf(word);
  if (value === undefined) refuse(`"${word}" is not a number`);
  return value ?? word;
}

function taggedInteger(word: string, refuse: (message: string) => void): unknown {
  const value = taggedNumber(word, refuse);
  if (typeof value === "number" && !Number.isInteger(value)) refuse(`"${word}" is not a whole number`);
  return value;
}

function taggedNull(word: string, refuse: (message: string) => void): unknown {
  if (!nothing.test(word)) refuse(`"${word}" is not null`);
  return null;
}

function bytesOf(word: string, refuse: (message: string) => void): unknown {
  const text = word.replace(/\s/g, "");
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) refuse("this is not base64");
  return Buffer.from(text, "base64").toString("utf8");
}

const tags: ScalarTag[] = [
  tag("null", nothing, () => null),
  tag("bool", new RegExp(`${truths.source}|${lies.source}`), booleanOf),
  // What begins like a number and is none is a text: `10.0.0.0/8`, `1:30`, `2001-12-14`.
  tag("number", /^[-+.\d]/, (word) => numberOf(word) ?? word),
  tag("null", undefined, taggedNull),
  tag("bool", undefined, booleanOf),
  tag("int", undefined, taggedInteger),
  tag("float", undefined, taggedNumber),
  tag("binary", undefined, bytesOf),
  tag("timestamp", undefined, (word) => word),
];

/** What words without quotes are, and what tags make of them: as in kubectl, which reads YAML 1.1 by Go's yaml.v2. */
export const kubectlSchema: Schema = new Schema({ schema: "failsafe", customTags: tags, merge: false });
