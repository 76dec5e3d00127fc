import { Composer, type CST, type Document, Lexer, Parser } from "yaml";
import { kubectlSchema } from "./scalars.ts";
import { isTooDeep, type NodeProblem, tooDeep } from "./value.ts";

/** A text as nodes, and what is wrong with them. No nodes where it is too deep to be read. */
export type ParsedYaml = { readonly document?: Document.Parsed; readonly problems: readonly NodeProblem[] };

/** The nodes of a text of YAML 1.1. Takes the text for one document: the parser is given what stands between separators. */
export function parseYaml(text: string): ParsedYaml {
  const tokens = tokensOf(text);
  if (!Array.isArray(tokens)) return { problems: [tokens] };
  const options = { version: "1.1", schema: kubectlSchema, uniqueKeys: false } as const;
  const [document, another] = new Composer(options).compose(tokens, true, text.length);
  if (document === undefined) return { problems: [] };
  const problems = document.errors.map(({ pos, message }): NodeProblem => ({ offset: pos[0], message: message.split("\n")[0] ?? "" }));
  if (another !== undefined) problems.push({ offset: another.range[0], message: "another document begins here, without `---` before it" });
  return { document, problems };
}

/** The parser keeps what is open in a list; all that comes after it calls itself for each level. */
function tokensOf(text: string): CST.Token[] | NodeProblem {
  const parser = new Parser();
  const tokens: CST.Token[] = [];
  for (const lexeme of new Lexer().lex(text)) {
    tokens.push(...parser.next(lexeme));
    // The document is in the list too, and the word that is being read.
    if (isTooDeep(parser.stack.length - 2)) return tooDeep(parser.offset - lexeme.length);
  }
  tokens.push(...parser.end());
  return tokens;
}
