import assert from "node:assert/strict";
import { it } from "node:test";
import { conntrackLine } from "./bpf.ts";

it("a connection is one line: who, how much, which identities", () => {
  const entry = {
    protocol: "TCP",
    source: { address: "10.244.1.5", port: 41234 },
    destination: { address: "fd00::3", port: 80 },
    flags: ["seen-non-syn"],
    expires: 600,
    txPackets: 5,
    txBytes: 370,
    rxPackets: "4",
    rxBytes: "1200",
    sourceIdentity: 1234,
    destinationIdentity: 5678,
    proxyPort: 0,
  };
  const rest = "expires=600 Packets=5/4 Bytes=370/1200 Flags=[ seen-non-syn ] SourceSecurityID=1234 DestinationSecurityID=5678";
  assert.equal(conntrackLine(entry), `TCP OUT 10.244.1.5:41234 -> [fd00::3]:80 ${rest}`);
  assert.match(conntrackLine({ ...entry, destinationIdentity: 0, proxyPort: 10001 }), /^TCP IN .* ProxyPort=10001$/);
});
