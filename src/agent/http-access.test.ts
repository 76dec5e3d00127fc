import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HttpOutcome } from "#datapath/gen/enums.ts";
import type { HttpEvent } from "#datapath/gen/structs.ts";
import { createPolicyTable } from "#proxy/policy/policy-table.ts";
import { addressToBytes, IpAddress } from "#types/addr.ts";
import { httpAccess } from "./http-access.ts";

const [CLIENT, SERVER] = ["10.0.0.1", "10.0.0.2"].map(IpAddress) as [IpAddress, IpAddress];

function bytes(text: string, size: number): Uint8Array {
  return Buffer.concat([Buffer.from(text), Buffer.alloc(size - text.length)]);
}

function event(change: Partial<HttpEvent>): HttpEvent {
  const path = "/secret?token=abc ";
  return {
    ...{ outcome: HttpOutcome.FORWARDED, flags: 0, lxcId: 7, clientId: 1001, status: 0, methodLength: 3, pathLength: path.length },
    ...{ clientPort: 40_000, serverPort: 8080, hostLength: 0, sockCookie: 1n, ktime: 1n, latency: 0n },
    ...{ client: { bytes: addressToBytes(CLIENT) }, server: { bytes: addressToBytes(SERVER) } },
    ...{ method: bytes("GET", 16), path: bytes(path, 232), host: bytes("", 64) },
    ...change,
  };
}

const origins = [{ kind: "CiliumNetworkPolicy", namespace: "default", name: "web", section: "ingress", index: 0 }];
const table = createPolicyTable();
table.replace({
  ...{ type: "policy", revision: 3 },
  endpoints: [
    {
      ...{ id: 7, identity: 2002, ips: [SERVER], egress: [] },
      ingress: [{ port: 8080, protocol: "TCP", rules: [{ identities: null, http: [{ method: "GET", path: "/public" }], origins }] }],
    },
  ],
});

describe("httpAccess", () => {
  it("names the rule that came nearest to a denied request, and what did not match", () => {
    const record = httpAccess(event({ outcome: HttpOutcome.DENIED, status: 403 }), table);
    assert.equal(record.verdict, "DROPPED");
    assert.equal(record.policyRevision, 3);
    assert.deepEqual(record.source, { ip: CLIENT, port: 40_000, identity: 1001 });
    assert.equal(record.denied?.nearest[0]?.origins[0]?.name, "web");
    assert.equal(record.denied?.nearest[0]?.mismatches[0]?.field, "path");
  });

  it("has the host that the client asked for, or the server's address, and hides credentials", () => {
    assert.equal(httpAccess(event({}), table).http.url, "http://10.0.0.2:8080/secret?token=***");
    const named = event({ host: bytes("shop.example", 64), hostLength: 12 });
    assert.equal(httpAccess(named, table).http.url, "http://shop.example/secret?token=***");
    // Longer than what the kernel keeps.
    assert.equal(
      httpAccess(event({ host: bytes("a".repeat(64), 64), hostLength: 80 }), table).http.url.slice(0, 22),
      "http://10.0.0.2:8080/s",
    );
  });

  it("tells of answers with their status and their latency", () => {
    const record = httpAccess(event({ outcome: HttpOutcome.ANSWERED, status: 503, latency: 1_500_000n }), table);
    assert.deepEqual([record.kind, record.verdict, record.http.code, record.latencyNs], ["response", "FORWARDED", 503, 1_500_000]);
  });

  it("says of what was not decided whose it is", () => {
    assert.match(httpAccess(event({ outcome: HttpOutcome.REFUSED, status: 421 }), table).error ?? "", /the proxy's/);
    assert.match(httpAccess(event({ outcome: HttpOutcome.REFUSED, status: 400 }), table).error ?? "", /not proper HTTP/);
  });
});
