import type { BtfType } from "./btf.ts";
import { camelCase, pascalCase } from "./codecs.ts";

/** An enum as a constant object, the type of its values, and the names by value. */
export function enumCode(types: readonly BtfType[], name: string): string {
  const found = types.find((type) => type.kind === "enum" && type.name === name);
  if (found?.kind !== "enum") throw new Error(`no enum ${name}`);
  const prefix = commonPrefix(found.values.map(([value]) => value));
  const values = found.values.map(([text, value]) => [text.startsWith(prefix) ? text.slice(prefix.length) : text, value] as const);
  const pascal = pascalCase(name);
  const lines = [
    `/** C: \`enum ${name}\`. */`,
    `export const ${pascal} = {`,
    ...values.map(([text, value]) => `  ${text}: ${value},`),
    "} as const;",
    "",
    `export type ${pascal} = (typeof ${pascal})[keyof typeof ${pascal}];`,
    "",
    `export const ${camelCase(name)}Names: Readonly<Record<number, string>> = {`,
    ...values.map(([text, value]) => `  ${value}: "${text}",`),
    "};",
  ];
  return `${lines.join("\n")}\n`;
}

/** The longest prefix ending in `_` that all values share; one value may be different, as the zero of `drop_reason` is. */
function commonPrefix(names: readonly string[]): string {
  const words = names[names.length - 1]?.split("_") ?? [];
  for (let count = words.length - 1; count > 0; count -= 1) {
    const prefix = `${words.slice(0, count).join("_")}_`;
    const missing = names.filter((name) => !name.startsWith(prefix)).length;
    if (names.length > 1 && missing <= (names.length > 4 ? 1 : 0)) return prefix;
  }
  return "";
}
