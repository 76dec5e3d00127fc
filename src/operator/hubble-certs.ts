import { X509Certificate } from "node:crypto";
import { type Cluster, isConflict, isNotFound } from "#k8s/client.ts";
import { SECRETS } from "#k8s/resources.ts";
import type { Secret } from "#k8s/types.ts";
import { type CertificateRequest, issueCertificate, type KeyPair } from "#pki/certificate.ts";
import type { Logger } from "#runtime/logger.ts";

export interface HubbleCertsDeps {
  readonly cluster: Cluster;
  readonly log: Logger;
}

export interface HubbleCertsConfig {
  readonly namespace: string;
  readonly clusterName: string;
  /** How long a certificate is valid, days (upstream's `hubble.tls.auto.certValidityDuration`: 365). */
  readonly validDays: number;
}

/** Upstream's names, so that what is there already, from Helm or cert-manager, is used. */
export const HUBBLE_SECRETS = { ca: "cilium-ca", server: "hubble-server-certs", relay: "hubble-relay-client-certs" } as const;

const CA_NAME = "Cilium CA";
const CA_DAYS = 1095;
/** A certificate is made anew when less than this share of its life is left. */
const RENEW_SHARE = 1 / 3;
/** Written by us: what somebody else made is never replaced. */
const OWNER = { "app.kubernetes.io/managed-by": "cilium-operator" };

/**
 * Makes the certificates of Hubble's agents and relay, and again in good time before they end. Idempotent. A Secret that
 * somebody else made stays as it is. Rejects with the API server's error; the next call goes on where this one stopped.
 */
export async function ensureHubbleCertificates(
  { cluster, log }: HubbleCertsDeps,
  config: HubbleCertsConfig,
  now = new Date(),
): Promise<void> {
  const { namespace, clusterName, validDays } = config;
  const authority = await ensureAuthority(cluster, log, namespace, now);
  if (authority === undefined) return;
  const leaves: Readonly<Record<string, CertificateRequest>> = {
    [HUBBLE_SECRETS.server]: {
      commonName: `*.${clusterName}.hubble-grpc.cilium.io`,
      names: [`*.${clusterName}.hubble-grpc.cilium.io`],
      purpose: "server",
      days: validDays,
    },
    [HUBBLE_SECRETS.relay]: {
      commonName: "*.hubble-relay.cilium.io",
      names: ["*.hubble-relay.cilium.io"],
      purpose: "client",
      days: validDays,
    },
  };
  for (const [name, request] of Object.entries(leaves)) {
    const known = await read(cluster, namespace, name);
    if (known !== undefined && (!isOurs(known) || isGood(known, authority.certificate, now))) continue;
    const { certificate, key } = issueCertificate(request, { ...authority, commonName: CA_NAME });
    await write(cluster, secret(namespace, name, { "tls.crt": certificate, "tls.key": key, "ca.crt": authority.bundle }), known);
    log.info("hubble certificate issued", { secret: `${namespace}/${name}`, days: validDays });
  }
}

interface Authority extends KeyPair {
  /** The certificate, and before it expires the one before, so that what it signed is still believed. */
  readonly bundle: string;
}

/** Undefined: the authority is somebody else's and its key is not in the cluster, so its certificates are not ours to make. */
async function ensureAuthority(cluster: Cluster, log: Logger, namespace: string, now: Date): Promise<Authority | undefined> {
  const known = await read(cluster, namespace, HUBBLE_SECRETS.ca);
  const bundle = known && text(known, "ca.crt");
  const key = known && text(known, "ca.key");
  if (bundle && key && (!isOurs(known) || lifeLeft(bundle, now) > RENEW_SHARE)) return { certificate: first(bundle), key, bundle };
  if (known && !isOurs(known)) {
    log.warn("no hubble certificates: this Secret has no ca.crt and ca.key", { secret: `${namespace}/${HUBBLE_SECRETS.ca}` });
    return undefined;
  }
  const made = issueCertificate({ commonName: CA_NAME, purpose: "ca", days: CA_DAYS });
  const both = bundle ? `${made.certificate}${first(bundle)}` : made.certificate;
  await write(cluster, secret(namespace, HUBBLE_SECRETS.ca, { "ca.crt": both, "ca.key": made.key }), known);
  log.info("certificate authority made", { secret: `${namespace}/${HUBBLE_SECRETS.ca}`, days: CA_DAYS });
  return { ...made, bundle: both };
}

/** The first certificate of a PEM file. */
function first(bundle: string): string {
  const end = "-----END CERTIFICATE-----\n";
  return bundle.slice(0, bundle.indexOf(end) + end.length);
}

/** Share of its life that a certificate has left; 0 or less when it is over, has not begun (a clock was wrong) or is unreadable. */
function lifeLeft(pem: string, now: Date): number {
  try {
    const { validFromDate, validToDate } = new X509Certificate(pem);
    if (now < validFromDate) return 0;
    return (validToDate.getTime() - now.getTime()) / (validToDate.getTime() - validFromDate.getTime());
  } catch {
    return 0;
  }
}

function isGood(known: Secret, authority: string, now: Date): boolean {
  const pem = text(known, "tls.crt");
  if (lifeLeft(pem, now) <= RENEW_SHARE || text(known, "tls.key") === "") return false;
  return new X509Certificate(pem).verify(new X509Certificate(authority).publicKey);
}

function isOurs({ metadata }: Secret): boolean {
  return Object.entries(OWNER).every(([key, value]) => metadata.labels?.[key] === value);
}

function text(known: Secret, key: string): string {
  return Buffer.from(known.data?.[key] ?? "", "base64").toString("utf8");
}

function secret(namespace: string, name: string, files: Readonly<Record<string, string>>): Secret {
  const data = Object.fromEntries(Object.entries(files).map(([key, value]) => [key, Buffer.from(value).toString("base64")]));
  const type = "tls.crt" in files ? "kubernetes.io/tls" : "Opaque";
  return { apiVersion: "v1", kind: "Secret", metadata: { name, namespace, labels: OWNER }, type, data };
}

async function read(cluster: Cluster, namespace: string, name: string): Promise<Secret | undefined> {
  try {
    return await cluster.get(SECRETS, { name, namespace });
  } catch (thrown) {
    if (isNotFound(thrown)) return undefined;
    throw thrown;
  }
}

// Another replica may have been quicker: then its Secret counts, and the next round reads it.
async function write(cluster: Cluster, wanted: Secret, known: Secret | undefined): Promise<void> {
  try {
    if (known === undefined) await cluster.create(SECRETS, wanted);
    else {
      const { resourceVersion } = known.metadata;
      await cluster.update(SECRETS, { ...wanted, metadata: { ...wanted.metadata, ...(resourceVersion ? { resourceVersion } : {}) } });
    }
  } catch (thrown) {
    if (!isConflict(thrown)) throw thrown;
  }
}
