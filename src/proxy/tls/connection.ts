import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { accessBase } from "../access-record.ts";
import type { ProxiedConnection } from "../connection.ts";
import type { HttpTimeouts } from "../http/session.ts";
import type { PeerPolicy } from "../policy/decide.ts";
import { type PeerRules, parserOf } from "../policy/peer-rules.ts";
import { decideTls, type TlsDecision } from "../policy/tls-rules.ts";
import type { AccessBase, AccessDenial, PeerRule, TlsMaterial } from "../protocol.ts";
import { resetSocket } from "../reset.ts";
import type { Session } from "../session.ts";
import { openTunnel, type Tunnel } from "../tunnel.ts";
import { type Agreement, awaitAgreement, protocolUnasked } from "./agreement.ts";
import { HANDSHAKE, readClientHello } from "./client-hello.ts";
import { originate } from "./originate.ts";
import { terminate } from "./terminate.ts";

export interface TlsConnectionOptions {
  readonly timeouts: HttpTimeouts;
  /** Takes the connection when it turns out not to be TLS; absent where everything must be. */
  readonly plain: (() => ProxiedConnection) | undefined;
  /** Reads HTTP inside TLS that ends here, by the rules that are picked. */
  readonly http: (client: Socket, pick: (peer: PeerRules) => PeerPolicy | null, inside: InsideTls) => ProxiedConnection;
}

/** What is known of the server of a connection whose TLS ends here. */
export interface InsideTls {
  /** Whom the client asked for; empty when it named nobody. */
  readonly serverName: string;
  /** The connection by TLS to it that was made to ask what it speaks; once, and whoever takes it ends it. */
  takeServer(): TLSSocket | undefined;
}

type Termination = Extract<TlsDecision, { readonly action: "terminate" }>;

const EMPTY = Buffer.alloc(0);

const isForHttp = (rule: PeerRule) => parserOf(rule) === "http";

/**
 * A connection judged by the name its ClientHello asks for. Allowed, it is passed on unread, or, where rules have certificates, ended
 * here and judged inside. Denied or no TLS, it is reset: in TLS nobody could believe an answer of ours.
 */
export class TlsConnection implements ProxiedConnection {
  readonly #client: Socket;
  readonly #session: Session;
  readonly #options: TlsConnectionOptions;
  #deadline: number;
  #held: Buffer = EMPTY;
  #serverName: string | undefined;
  /** What the client can speak inside. */
  #protocols: readonly string[] = [];
  /** The server, while it is asked what it speaks. */
  #asked: TLSSocket | undefined;
  #tunnel: Tunnel | undefined;
  #inner: ProxiedConnection | undefined;
  #stopping = false;

  constructor(client: Socket, session: Session, options: TlsConnectionOptions) {
    this.#client = client;
    this.#session = session;
    this.#options = options;
    this.#deadline = session.now() + options.timeouts.head;
    client.on("data", this.#onData);
    client.on("end", this.#onEnd);
    client.on("error", this.#onEnd);
  }

  cut(): void {
    this.#asked?.destroy();
    this.#inner?.cut();
    this.#tunnel?.cut();
    resetSocket(this.#client);
  }

  /** What is inside a tunnel has no end that we could see, so it gets the time that draining takes. A ClientHello may be in the socket already. */
  stop(): void {
    this.#stopping = true;
    this.#inner?.stop();
    this.#deadline = Math.min(this.#deadline, this.#session.now() + this.#options.timeouts.last);
  }

  stillRedirected(): boolean {
    if (this.#inner !== undefined) return this.#inner.stillRedirected();
    if (this.#tunnel === undefined) return this.#session.policy() !== null;
    return this.#decide()?.action === "pass";
  }

  checkDeadline(now: number): void {
    if (this.#inner !== undefined) this.#inner.checkDeadline(now);
    else if (this.#tunnel === undefined ? now >= this.#deadline : now - this.#tunnel.lastMoved > this.#options.timeouts.idle) this.cut();
  }

  readonly #onEnd = (): void => resetSocket(this.#client);

  readonly #onData = (chunk: Buffer): void => {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    if (this.#options.plain !== undefined && this.#held[0] !== HANDSHAKE) {
      this.#release();
      this.#client.unshift(this.#held);
      this.#read(this.#options.plain());
      return;
    }
    const hello = readClientHello(this.#held);
    if (hello === undefined) return;
    if ("reason" in hello) {
      this.#record({ verdict: "ERROR", error: hello.reason }, false);
      resetSocket(this.#client);
      return;
    }
    this.#serverName = hello.serverName;
    this.#protocols = hello.protocols;
    this.#follow(this.#decide());
  };

  #decide(peer = this.#session.policy()?.peer): TlsDecision | undefined {
    return peer && decideTls(peer.mine, this.#serverName);
  }

  /** What would have denied it without audit mode. */
  #audited(): AccessDenial | undefined {
    const audited = this.#session.policy()?.peer.audited;
    const decision = audited && this.#decide(audited);
    return decision?.action === "deny" ? decision.denied : undefined;
  }

  #follow(decision: TlsDecision | undefined): void {
    if (decision === undefined) {
      resetSocket(this.#client);
      return;
    }
    if (decision.action === "deny") {
      this.#record({ verdict: "DROPPED", denied: decision.denied }, false);
      resetSocket(this.#client);
      return;
    }
    const denied = this.#audited();
    const outcome =
      denied === undefined ? { verdict: "FORWARDED" as const, origins: decision.origins } : { verdict: "AUDIT" as const, denied };
    this.#record(outcome, decision.action === "terminate");
    this.#release();
    if (decision.action === "terminate") this.#terminate(decision);
    else this.#pass(this.#client, () => this.#session.connect(), this.#held);
  }

  #read(inner: ProxiedConnection): void {
    this.#inner = inner;
    if (this.#stopping) inner.stop();
  }

  #pass(client: Socket, connect: () => Socket, first: Buffer): void {
    try {
      this.#tunnel = openTunnel(client, connect(), first, this.#session.now);
    } catch (thrown) {
      this.#fail(thrown as Error, true);
    }
  }

  /** Ends the client's TLS here, when it is known what to speak inside: what the server speaks, of what the client can. */
  #terminate(decision: Termination): void {
    this.#client.pause();
    this.#client.unshift(this.#held);
    const { terminating, originating, rules } = decision;
    if (terminating === null) {
      this.#fail(new Error("the Secret of terminatingTLS is unknown"), true);
      return;
    }
    const isAsked = originating !== undefined && originating !== null && this.#protocols.includes("h2");
    if (!isAsked || !rules.some(isForHttp)) {
      this.#readInside(terminating, decision, { protocol: protocolUnasked(this.#protocols), server: undefined });
      return;
    }
    const offered = this.#protocols.filter((name) => name === "h2" || name === "http/1.1");
    try {
      this.#asked = originate(() => this.#session.connect(), originating, this.#serverName ?? "", offered);
    } catch (thrown) {
      this.#fail(thrown as Error, true);
      return;
    }
    this.#client.on("close", () => this.#asked?.destroy());
    awaitAgreement(this.#asked, offered, this.#options.timeouts.connect, (agreed) => {
      this.#asked = undefined;
      if (this.#client.destroyed) agreed.server?.destroy();
      else this.#readInside(terminating, decision, agreed);
    });
  }

  #readInside(material: TlsMaterial, { originating, rules }: Termination, { protocol, server }: Agreement): void {
    const inside = terminate(this.#client, material, protocol);
    if (inside instanceof Error) {
      server?.destroy();
      this.#fail(inside, true);
      return;
    }
    let unused = server;
    inside.on("close", () => unused?.destroy());
    const takeServer = () => {
      const taken = unused;
      unused = undefined;
      return taken;
    };
    const serverName = this.#serverName ?? "";
    if (rules.some(isForHttp)) {
      this.#read(this.#options.http(inside, (peer) => this.#rulesInside(peer), { serverName, takeServer }));
      return;
    }
    const connect = () =>
      originating === undefined ? this.#session.connect() : originate(() => this.#session.connect(), originating, serverName, [protocol]);
    this.#pass(inside, connect, EMPTY);
  }

  /** The rules inside: null when these would not end the connection here. */
  #rulesInside(peer: PeerRules): PeerPolicy | null {
    const decision = this.#decide(peer);
    return decision?.action === "terminate" ? peer.inside(decision.rules) : null;
  }

  #fail(error: Error, terminated: boolean): void {
    this.#record({ verdict: "ERROR", error: error.message }, terminated);
    resetSocket(this.#client);
  }

  /** From here on the socket is somebody else's. */
  #release(): void {
    this.#client.off("data", this.#onData);
    this.#client.off("end", this.#onEnd);
    this.#client.off("error", this.#onEnd);
    this.#client.on("error", () => undefined);
  }

  #record(outcome: Pick<AccessBase, "verdict" | "origins" | "denied" | "error">, terminated: boolean): void {
    const policyRevision = this.#session.policy()?.revision ?? 0;
    const base = accessBase(this.#session.scope(), { kind: "request", policyRevision, ...outcome });
    this.#session.record({ ...base, type: "tls-access", tls: { serverName: this.#serverName ?? "", terminated } });
  }
}
