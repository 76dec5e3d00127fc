import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { describe, it } from "node:test";
import { type Cluster, KubeError } from "#k8s/client.ts";
import type { Secret } from "#k8s/types.ts";
import { silentLogger } from "#runtime/logger.ts";
import { ensureHubbleCertificates, HUBBLE_SECRETS } from "./hubble-certs.ts";

/** The Secrets of a cluster, as the operator's client sees them. */
function secretsOnly() {
  const secrets = new Map<string, Secret>();
  const cluster: Pick<Cluster, "get" | "create" | "update"> = {
    get: async (_, { name }) => {
      const found = secrets.get(name);
      if (found === undefined) throw new KubeError(404, "NotFound", `secrets "${name}" not found`);
      return found as never;
    },
    create: async (_, object) => {
      secrets.set(object.metadata.name, object as Secret);
      return object;
    },
    update: async (_, object) => {
      secrets.set(object.metadata.name, object as Secret);
      return object;
    },
  };
  return { secrets, cluster: cluster as Cluster };
}

const CONFIG = { namespace: "kube-system", clusterName: "default", validDays: 365 };
const DAY_MS = 86_400_000;
const later = (days: number) => new Date(Date.now() + days * DAY_MS);

describe("Hubble's certificates", () => {
  async function made() {
    const { secrets, cluster } = secretsOnly();
    const ensure = (now?: Date) => ensureHubbleCertificates({ cluster, log: silentLogger }, CONFIG, now);
    await ensure();
    const file = (secret: string, key: string) => Buffer.from(secrets.get(secret)?.data?.[key] ?? "", "base64").toString();
    return { secrets, ensure, file, snapshot: () => JSON.stringify([...secrets]) };
  }

  it("are signed by the authority and carry the agents' names", async () => {
    const { file } = await made();
    const authority = new X509Certificate(file(HUBBLE_SECRETS.ca, "ca.crt"));
    const server = new X509Certificate(file(HUBBLE_SECRETS.server, "tls.crt"));
    assert(server.verify(authority.publicKey) && new X509Certificate(file(HUBBLE_SECRETS.relay, "tls.crt")).verify(authority.publicKey));
    assert.equal(server.checkHost("node-1.default.hubble-grpc.cilium.io"), "*.default.hubble-grpc.cilium.io");
  });

  it("stay as they are until a third of their life is left", async () => {
    const { ensure, snapshot } = await made();
    const before = snapshot();
    await ensure(later(200));
    assert.equal(snapshot(), before);
    await ensure(later(250));
    assert.notEqual(snapshot(), before);
  });

  it("are made anew when they have expired, or are not valid yet", async () => {
    for (const days of [400, -1]) {
      const { ensure, snapshot } = await made();
      const before = snapshot();
      await ensure(later(days));
      assert.notEqual(snapshot(), before, `seen ${days} days later`);
    }
  });

  it("a new authority is believed beside the old one", async () => {
    const { ensure, file } = await made();
    const old = file(HUBBLE_SECRETS.ca, "ca.crt");
    await ensure(later(800));
    const bundle = file(HUBBLE_SECRETS.server, "ca.crt");
    assert.equal(bundle.match(/BEGIN CERTIFICATE/g)?.length, 2);
    assert(bundle.endsWith(old));
  });

  it("what somebody else made is never replaced", async () => {
    const { secrets, ensure, snapshot } = await made();
    for (const secret of secrets.values()) delete secret.metadata.labels;
    const before = snapshot();
    await ensure(later(5000));
    assert.equal(snapshot(), before);
  });
});
