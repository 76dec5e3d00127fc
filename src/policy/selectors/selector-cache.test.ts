import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fqdnLabels } from "#identity/cidr.ts";
import { NumericIdentity } from "#types/identity.ts";
import { Prefix } from "#types/prefix.ts";
import { cidrPeer } from "../resolve/peer.ts";
import { defaultSettings } from "../settings.ts";
import { createSelectorCache } from "./selector-cache.ts";

describe("an identity that stands for a name beside that of its address", () => {
  it("is in no block with exceptions, one of which its address may be", () => {
    const families = { ipv4: true, ipv6: false };
    const labels = fqdnLabels([{ matchName: "a.example.com" }], 4, families);
    const cache = createSelectorCache();
    const all = (...except: string[]) =>
      cache.acquire(cidrPeer(Prefix("0.0.0.0/0"), except.map(Prefix), { ...defaultSettings, ...families }), {});
    const [everywhere, before] = [all(), all("192.0.2.1/32")];
    cache.update({
      add: [
        { id: NumericIdentity(1 << 24), labels, beside: true },
        { id: NumericIdentity((1 << 24) + 1), labels },
      ],
    });
    const after = all("192.0.2.2/32");
    assert.deepEqual(
      [everywhere, before, after].map(({ identities }) => [1 << 24, (1 << 24) + 1].map((id) => identities.has(NumericIdentity(id)))),
      [
        [true, true],
        [false, true],
        [false, true],
      ],
    );
  });
});
