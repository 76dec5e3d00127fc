/** Makes text that came over the network harmless for a terminal: escape sequences and line breaks become visible. */
export function escapeTerminal(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to replace
  return text.replace(/[\u0000-\u0008\u000a-\u001f\u007f\u0080-\u009f]/g, (char) => {
    if (char === "\r") return "\\r";
    if (char === "\n") return "\\n";
    const code = char.charCodeAt(0);
    if (code < 0x20) return `^${String.fromCharCode(code + 0x40)}`;
    return code === 0x7f ? "^?" : `\\u00${code.toString(16)}`;
  });
}
