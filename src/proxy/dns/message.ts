import { DNS_HEADER, type DnsQuestion, hasEdns } from "#packet/dns.ts";

/** Response codes of RFC 1035 that the proxy gives itself. */
export const RCODE = { formatError: 1, servfail: 2, nameError: 3, notImplemented: 4, refused: 5 } as const;

const RESPONSE = 0x80;
const RECURSION_DESIRED_AND_OPCODE = 0x79;
const RECURSION_AVAILABLE = 0x80;

const EXTENDED_ERROR = 15;
/** Extended error "Prohibited" (RFC 8914). */
const PROHIBITED = 18;
const UDP_SIZE = 1232;

/**
 * An answer of our own: header and question of the query as they were, and the code. A client that speaks EDNS is also told why (RFC 8914), `dig` shows
 * it.
 */
export function ownAnswer(query: Buffer, question: DnsQuestion, rcode: number, why?: string): Buffer {
  const opt = hasEdns(query, question) ? optRecord(why) : Buffer.alloc(0);
  const answer = Buffer.concat([query.subarray(0, question.end), opt]);
  answer[2] = RESPONSE | ((query[2] ?? 0) & RECURSION_DESIRED_AND_OPCODE);
  answer[3] = RECURSION_AVAILABLE | rcode;
  answer.fill(0, 6, DNS_HEADER);
  if (opt.length > 0) answer[11] = 1;
  return answer;
}

/** The answer to a query whose question cannot be read: its header alone, and the code. */
export function headerAnswer(query: Buffer, rcode: number): Buffer {
  const answer = Buffer.alloc(DNS_HEADER);
  query.copy(answer, 0, 0, 4);
  answer[2] = RESPONSE | ((query[2] ?? 0) & RECURSION_DESIRED_AND_OPCODE);
  answer[3] = RECURSION_AVAILABLE | rcode;
  return answer;
}

function optRecord(why: string | undefined): Buffer {
  const text = Buffer.from(why ?? "");
  const option = why === undefined ? 0 : 6 + text.length;
  const record = Buffer.alloc(11 + option);
  record.writeUInt16BE(41, 1);
  record.writeUInt16BE(UDP_SIZE, 3);
  record.writeUInt16BE(option, 9);
  if (option === 0) return record;
  record.writeUInt16BE(EXTENDED_ERROR, 11);
  record.writeUInt16BE(2 + text.length, 13);
  record.writeUInt16BE(PROHIBITED, 15);
  text.copy(record, 17);
  return record;
}
