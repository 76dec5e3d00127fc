import type { PeerRules } from "../policy/peer-rules.ts";
import type { AccessDenial, RuleOrigin } from "../protocol.ts";

/** Reads along with a connection that passes whatever it says: it reports what rules would deny, and goes silent at what it cannot read. */
export interface Witness {
  /** Reads what goes on to the server. False, only after `finish`: this begins something new and must not go on. */
  fromClient(chunk: Buffer): boolean;
  /** Reads what the server said and gives what the client is told of it now. */
  fromServer(chunk: Buffer): Buffer;
  /** Nothing new may begin any more. Gives whether what is under way can be told apart from that; if not, only a cut is safe. */
  finish(inForce: PeerRules): boolean;
  /** Nothing is under way. */
  readonly idle: boolean;
  /** The connection is over. */
  close?(): void;
}

/** What enforced rules would say to what cannot be read: all of them would refuse it. */
export function unreadable(audited: PeerRules | undefined): AccessDenial {
  const origins: RuleOrigin[] = audited?.mine.flatMap((rule) => rule.origins) ?? [];
  return { origins, nearest: [], reason: "unreadable" };
}
