import { accessBase } from "../access-record.ts";
import type { PeerRules } from "../policy/peer-rules.ts";
import { decideTls } from "../policy/tls-rules.ts";
import type { AccessBase } from "../protocol.ts";
import type { Session } from "../session.ts";
import { readClientHello } from "../tls/client-hello.ts";
import { unreadable, type Witness } from "./witness.ts";

/** The name that a TLS client asks for; what follows nobody could read. */
export class TlsWitness implements Witness {
  readonly #session: Session;
  #held: Buffer | undefined = Buffer.alloc(0);
  /** Undefined until the client has said whom it wants, and for ever when it did not speak TLS. */
  #asked: { readonly serverName: string | undefined } | undefined;
  readonly idle = false;

  constructor(session: Session) {
    this.#session = session;
  }

  finish(inForce: PeerRules): boolean {
    return this.#asked !== undefined && decideTls(inForce.mine, this.#asked.serverName).action === "pass";
  }

  fromClient(chunk: Buffer): boolean {
    if (this.#held === undefined) return true;
    this.#held = Buffer.concat([this.#held, chunk]);
    const hello = readClientHello(this.#held);
    if (hello === undefined) return true;
    this.#held = undefined;
    const audited = this.#session.policy()?.peer.audited;
    if ("reason" in hello) {
      this.#record({ verdict: "AUDIT", denied: unreadable(audited), error: hello.reason }, "");
      return true;
    }
    this.#asked = { serverName: hello.serverName };
    const decision = decideTls(audited?.mine ?? [], this.#asked.serverName);
    const denied = decision.action === "deny" ? decision.denied : undefined;
    const origins = decision.action === "deny" ? [] : decision.origins;
    this.#record(denied === undefined ? { verdict: "FORWARDED", origins } : { verdict: "AUDIT", denied }, hello.serverName ?? "");
    return true;
  }

  fromServer(chunk: Buffer): Buffer {
    if (this.#held !== undefined) {
      this.#held = undefined;
      const denied = unreadable(this.#session.policy()?.peer.audited);
      this.#record({ verdict: "AUDIT", denied, error: "the server spoke first" }, "");
    }
    return chunk;
  }

  #record(outcome: Pick<AccessBase, "verdict" | "origins" | "denied" | "error">, serverName: string): void {
    const policyRevision = this.#session.policy()?.revision ?? 0;
    const base = accessBase(this.#session.scope(), { kind: "request", policyRevision, ...outcome });
    this.#session.record({ ...base, type: "tls-access", tls: { serverName, terminated: false } });
  }
}
