/** One section of an ELF file. */
export interface Section {
  readonly name: string;
  readonly data: Buffer;
}

/** The sections of a 64-bit little-endian ELF file, which eBPF objects are. Throws on anything else. Source: System V ABI, ELF-64. */
export function readSections(file: Buffer): Section[] {
  if (file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) throw new Error("not a 64-bit little-endian ELF file");
  const offset = Number(file.readBigUInt64LE(40));
  const [size, count, nameIndex] = [file.readUInt16LE(58), file.readUInt16LE(60), file.readUInt16LE(62)];
  const headers = Array.from({ length: count }, (_, index) => file.subarray(offset + index * size, offset + (index + 1) * size));
  const dataOf = (header: Buffer) => {
    const start = Number(header.readBigUInt64LE(24));
    const isEmpty = header.readUInt32LE(4) === 8; // SHT_NOBITS
    return file.subarray(start, isEmpty ? start : start + Number(header.readBigUInt64LE(32)));
  };
  const names = dataOf(headers[nameIndex] as Buffer);
  return headers.map((header) => ({ name: textAt(names, header.readUInt32LE(0)), data: dataOf(header) }));
}

/** The text that starts at an offset of a string table and ends with a zero byte. */
export function textAt(table: Buffer, offset: number): string {
  return table.toString("utf8", offset, table.indexOf(0, offset));
}

/** Offset of every named symbol in its section. */
export function readSymbols(sections: readonly Section[]): Map<string, number> {
  const table = sections.find(({ name }) => name === ".symtab")?.data ?? Buffer.alloc(0);
  const names = sections.find(({ name }) => name === ".strtab")?.data ?? Buffer.alloc(0);
  const symbols = new Map<string, number>();
  for (let offset = 0; offset + 24 <= table.length; offset += 24) {
    const name = textAt(names, table.readUInt32LE(offset));
    if (name !== "") symbols.set(name, Number(table.readBigUInt64LE(offset + 8)));
  }
  return symbols;
}
