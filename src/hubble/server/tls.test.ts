import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createClient } from "@connectrpc/connect";
import { Observer } from "#api/gen/observer/observer_pb.ts";
import { issueCertificate, type KeyPair } from "#pki/certificate.ts";
import { silentLogger } from "#runtime/logger.ts";
import { openConnection, type TlsOptions } from "../client/transport.ts";
import { demoNames } from "../fixtures.ts";
import { startObserver } from "../observer/observer.ts";
import { startRelay } from "../relay/relay.ts";
import { formatSocketAddress } from "./address.ts";
import { startHubbleServer } from "./hubble.ts";
import { createPeerTable, hubbleServerName } from "./peers.ts";
import { TLS_CHECK_MS } from "./tls.ts";

const CA = "Cilium CA";
const ca = issueCertificate({ commonName: CA, purpose: "ca" });
const other = issueCertificate({ commonName: "somebody", purpose: "ca" });
const serverCertificate = () =>
  issueCertificate({ commonName: "server", names: ["*.default.hubble-grpc.cilium.io"], purpose: "server" }, { ...ca, commonName: CA });

function save(directory: string, name: string, { certificate, key }: KeyPair): { certFile: string; keyFile: string } {
  const [certFile, keyFile] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  writeFileSync(certFile, certificate);
  writeFileSync(keyFile, key);
  return { certFile, keyFile };
}

/** An agent's server over mutual TLS, and a client's files. */
async function world(withFiles = true) {
  const scope = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), "hubble-tls-"));
  const caFile = join(directory, "ca.crt");
  writeFileSync(caFile, ca.certificate);
  const provide = () => save(directory, "server", serverCertificate());
  if (withFiles) provide();
  const tls = { certFile: join(directory, "server.crt"), keyFile: join(directory, "server.key"), clientCaFiles: [caFile] };
  const observer = startObserver({ names: demoNames(), log: silentLogger, version: "v1" });
  const deps = { observer, peers: createPeerTable(), log: silentLogger };
  const server = scope.use(await startHubbleServer(deps, { listen: ["127.0.0.1:0"], tls }));
  const [bound] = server.addresses;
  assert(bound);
  const address = formatSocketAddress(bound);
  const client: TlsOptions = {
    ...save(directory, "client", issueCertificate({ commonName: "relay", purpose: "client" }, { ...ca, commonName: CA })),
    caFiles: [caFile],
    serverName: hubbleServerName("node.one", "default"),
  };
  const ask = async (options: TlsOptions | undefined): Promise<string> => {
    using connection = openConnection({ server: address, ...(options ? { tls: options } : {}), dialTimeoutMs: 2000 });
    try {
      return (await createClient(Observer, connection.transport).serverStatus({}, { timeoutMs: 2000 })).version;
    } catch {
      return "refused";
    }
  };
  return { address, directory, client, ask, provide, [Symbol.asyncDispose]: () => scope.disposeAsync() };
}

describe("Hubble over TLS", () => {
  it("answers a client that shows a certificate of the authority, and nobody else", async () => {
    await using agent = await world();
    const { certFile: _, keyFile: __, ...nameless } = agent.client;
    const stranger = save(
      agent.directory,
      "stranger",
      issueCertificate({ commonName: "x", purpose: "client" }, { ...other, commonName: "somebody" }),
    );
    assert.equal(await agent.ask(agent.client), "v1");
    assert.equal(await agent.ask(undefined), "refused", "clear text");
    assert.equal(await agent.ask(nameless), "refused", "no certificate");
    assert.equal(await agent.ask({ ...agent.client, ...stranger }), "refused", "another authority");
    assert.equal(await agent.ask({ ...agent.client, serverName: "node.other.hubble-grpc.cilium.io" }), "refused", "another name");
  });

  it("refuses until its files are there, then answers without a restart", async () => {
    await using agent = await world(false);
    assert.equal(await agent.ask(agent.client), "refused");
    agent.provide();
    assert.equal(await eventually(() => agent.ask(agent.client), "v1"), "v1");
  });

  it("takes new files for new connections", async () => {
    await using agent = await world();
    const strict = { ...agent.client, caFiles: [join(agent.directory, "new-ca.crt")] };
    writeFileSync(strict.caFiles[0] ?? "", other.certificate);
    assert.equal(await agent.ask(strict), "refused");
    const request = { commonName: "server", names: ["*.default.hubble-grpc.cilium.io"], purpose: "server" as const };
    save(agent.directory, "server", issueCertificate(request, { ...other, commonName: "somebody" }));
    assert.equal(await eventually(() => agent.ask(strict), "v1"), "v1");
  });

  it("carries the relay, which says so of its nodes, also when its files come late", async () => {
    await using agent = await world();
    const late = mkdtempSync(join(tmpdir(), "hubble-tls-"));
    const clientTls = { ...agent.client, certFile: join(late, "client.crt"), keyFile: join(late, "client.key") };
    const peers = createPeerTable();
    peers.set([{ name: "one", address: agent.address, tlsServerName: hubbleServerName("one", "default") }]);
    await using relay = await startRelay({ peers, log: silentLogger, version: "r1" }, { listen: ["127.0.0.1:0"], clientTls, retryMs: 200 });
    const [bound] = relay.addresses;
    assert(bound);
    using connection = openConnection({ server: formatSocketAddress(bound) });
    const nodes = async () =>
      (await createClient(Observer, connection.transport).getNodes({})).nodes.map(({ state, tls }) => `${state} ${tls?.enabled}`);
    assert.deepEqual(await nodes(), ["2 true"], "unavailable");
    save(late, "client", issueCertificate({ commonName: "relay", purpose: "client" }, { ...ca, commonName: CA }));
    assert.equal(await eventually(async () => (await nodes()).join(), "1 true"), "1 true");
  });
});

async function eventually(look: () => Promise<string>, wanted: string): Promise<string> {
  const end = performance.now() + 5 * TLS_CHECK_MS;
  let found = await look();
  while (found !== wanted && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    found = await look();
  }
  return found;
}
