import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";
import { issueCertificate } from "#pki/certificate.ts";
import { silentLogger } from "#runtime/logger.ts";
import { demoNames, packetEvent } from "../fixtures.ts";
import { startObserver } from "../observer/observer.ts";
import { type RelayConfig, startRelay } from "../relay/relay.ts";
import { formatSocketAddress } from "../server/address.ts";
import { startGrpcServer } from "../server/grpc.ts";
import { startHubbleServer } from "../server/hubble.ts";
import { createPeerTable, hubbleServerName } from "../server/peers.ts";
import { runHubble } from "./main.ts";

const CA = "Cilium CA";
const ca = issueCertificate({ commonName: CA, purpose: "ca" });
const DAY_MS = 86_400_000;
const days = (count: number) => new Date(Date.now() + count * DAY_MS);

type Validity = { readonly from?: Date; readonly days?: number };
const EXPIRED: Validity = { from: days(-3), days: -2 };
const NOT_YET: Validity = { from: days(2), days: 3 };
const GOOD: Validity = {};

/** The files of one party, which can be made anew while it runs. */
function party(directory: string, commonName: string, purpose: "server" | "client") {
  const files = { certFile: join(directory, `${commonName}.crt`), keyFile: join(directory, `${commonName}.key`) };
  return {
    files,
    renew(validity: Validity, issuer = ca): void {
      const names = purpose === "server" ? { names: ["*.default.hubble-grpc.cilium.io", "localhost"] } : {};
      const { certificate, key } = issueCertificate({ commonName, purpose, ...names, ...validity }, { ...issuer, commonName: CA });
      writeFileSync(files.keyFile, key);
      writeFileSync(files.certFile, certificate);
    },
  };
}

/** Two nodes with a flow each, of which the first has the certificate under test; a relay; the command. */
async function world(validity: { readonly agent?: Validity; readonly relay?: Validity; readonly front?: Validity }) {
  const scope = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), "hubble-certificates-"));
  const caFile = join(directory, "ca.crt");
  writeFileSync(caFile, ca.certificate);
  const [agent, healthy, relay, front] = [
    party(directory, "agent", "server"),
    party(directory, "healthy", "server"),
    party(directory, "relay", "client"),
    party(directory, "front", "server"),
  ];
  agent.renew(validity.agent ?? GOOD);
  healthy.renew(GOOD);
  relay.renew(validity.relay ?? GOOD);
  front.renew(validity.front ?? GOOD);
  const serve = async (name: string, { files }: typeof agent) => {
    const observer = startObserver({ names: demoNames({ nodeName: name }), log: silentLogger, version: "v1" });
    observer.push(packetEvent());
    const deps = { observer, peers: createPeerTable(), log: silentLogger };
    const server = scope.use(await startHubbleServer(deps, { listen: ["127.0.0.1:0"], tls: { ...files, clientCaFiles: [caFile] } }));
    const [bound] = server.addresses;
    return { name, address: bound ? formatSocketAddress(bound) : "", tlsServerName: hubbleServerName(name, "default") };
  };
  const peers = createPeerTable();
  const [one, two] = [await serve("one", agent), await serve("two", healthy)];
  peers.set([one, two]);
  const config: RelayConfig = {
    listen: ["127.0.0.1:0"],
    clientTls: { ...relay.files, caFiles: [caFile] },
    serverTls: { ...front.files, clientCaFiles: [] },
    retryMs: 200,
    sortBufferDrainMs: 10,
  };
  const [bound] = scope.use(await startRelay({ peers, log: silentLogger, version: "r1" }, config)).addresses;
  const server = `tls://localhost:${bound && "port" in bound ? bound.port : 0}`;
  const ask = async (...argv: string[]) => {
    let text = "";
    const write = (part: string) => {
      text += part;
    };
    const more = { stdin: new PassThrough(), terminal: false, errTerminal: false, signal: new AbortController().signal, version: "1" };
    const code = await runHubble(argv, { env: { HOME: "/nonexistent" }, out: write, err: write, ...more });
    return `${code} ${text}`;
  };
  const hubble = (...args: string[]) => ask(...args, "--server", server, "--tls-ca-cert-files", caFile);
  /** Asks until the answer is as wanted. */
  const until = async (wanted: RegExp, ...args: string[]): Promise<void> => {
    let answer = await hubble(...args);
    for (const end = performance.now() + 60_000; !wanted.test(answer) && performance.now() < end; answer = await hubble(...args))
      await new Promise((resolve) => setTimeout(resolve, 50));
    assert.match(answer, wanted);
  };
  return { agent, relay, front, one, server, caFile, ask, until, [Symbol.asyncDispose]: () => scope.disposeAsync() };
}

const DATE = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`;

describe("a certificate out of its time", () => {
  for (const [what, validity, words] of [
    ["expired", EXPIRED, "expired on"],
    ["not yet valid", NOT_YET, "is not valid before"],
  ] as const) {
    it(`of an agent, ${what}, costs that node alone, is named with date and remedy, and heals when it is renewed`, async () => {
      await using cluster = await world({ agent: validity });
      const told = `1 nodes are unavailable: one: the certificate "CN=agent" of 127\\.0\\.0\\.1:\\d+ ${words} ${DATE}: the operator renews`;
      await cluster.until(new RegExp(told), "observe", "--last", "1");
      await cluster.until(/^0 .*tiefighter/s, "observe", "--last", "1", "--node-name", "two");
      cluster.agent.renew(GOOD);
      await cluster.until(/^0 (?!.*unavailable).*tiefighter.*tiefighter/s, "observe", "--last", "1");
    });

    it(`of the relay towards agents, ${what}`, async () => {
      await using cluster = await world({ relay: validity });
      const told = `2 nodes are unavailable: one, two: the certificate "CN=relay" in \\S+relay\\.crt ${words} ${DATE}: renew it`;
      await cluster.until(new RegExp(told), "observe", "--last", "1");
      cluster.relay.renew(GOOD);
      await cluster.until(/^0 (?!.*unavailable).*tiefighter.*tiefighter/s, "observe", "--last", "1");
    });

    it(`of the relay towards the command, ${what}`, async () => {
      await using cluster = await world({ front: validity });
      const told = `^1 failed to connect to 'tls://\\S+': the certificate "CN=front" of localhost:\\d+ ${words} ${DATE}: the operator renews`;
      for (const command of [["status"], ["observe"], ["list", "nodes"]]) await cluster.until(new RegExp(told), ...command);
      cluster.front.renew(GOOD);
      await cluster.until(/Connected Nodes: 2\/2/, "status");
    });
  }
});

describe("TLS that one side does not have, or has too little of", () => {
  it("is told with the flag that mends it", async () => {
    await using cluster = await world({});
    const mutual = [
      "--server",
      `tls://${cluster.one.address}`,
      "--tls-server-name",
      cluster.one.tlsServerName,
      "--tls-ca-cert-files",
      cluster.caFile,
    ];
    const shown = (certFile: string, keyFile: string) => ["--tls-client-cert-file", certFile, "--tls-client-key-file", keyFile];
    assert.match(await cluster.ask("status", ...mutual, ...shown(cluster.relay.files.certFile, cluster.relay.files.keyFile)), /^0 /);
    const stranger = party(dirname(cluster.caFile), "stranger", "client");
    stranger.renew(GOOD, issueCertificate({ commonName: CA, purpose: "ca" }));
    await using bare = await startGrpcServer(() => undefined, ["127.0.0.1:0"]);
    const [address] = bare.addresses;
    assert(address !== undefined);
    for (const [args, wanted] of [
      [mutual, /wants a certificate of its clients: .*--tls-client-cert-file/],
      [
        [...mutual, ...shown(stranger.files.certFile, stranger.files.keyFile)],
        /refuses the client's certificate \S+stranger\.crt: an authority/,
      ],
      [["--server", cluster.server.replace("tls://", "")], /speaks TLS: add --tls, and --tls-ca-cert-files/],
      [["--server", `tls://${formatSocketAddress(address)}`], /does not speak TLS: .* without --tls/],
    ] as const)
      for (const command of ["status", "observe"])
        assert.match(await cluster.ask(command, ...args), new RegExp(`^1 failed to connect .*:\\d+ ${wanted.source}`));
  });
});
