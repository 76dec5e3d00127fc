import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { label } from "#labels/label.ts";
import { type LabelSet, labelSet } from "#labels/label-set.ts";
import type { NumericIdentity } from "#types/identity.ts";
import { Prefix } from "#types/prefix.ts";
import { cidrGroupLabels, cidrLabels, fqdnLabels, prefixOfLabel } from "./cidr.ts";
import { createCidrAllocator, createLocalAllocator } from "./local.ts";
import { chooseIdentity, identityCandidates } from "./probe.ts";
import { parseIdentity, reservedName } from "./reserved.ts";

const one = labelSet(["k8s:app=one"]);
const other = labelSet(["k8s:app=other"]);

describe("chooseIdentity", () => {
  it("meets at the same number on every agent, and moves on where another set lives", () => {
    const taken = new Map<NumericIdentity, LabelSet>();
    const first = chooseIdentity(one, (id) => taken.get(id));
    assert.deepEqual(first, { id: identityCandidates(one).next().value, exists: false });
    if (first === undefined) return;
    taken.set(first.id, other);
    const second = chooseIdentity(one, (id) => taken.get(id));
    assert.equal(second?.id, first.id === 65535 ? 256 : first.id + 1);
    if (second) taken.set(second.id, one);
    assert.deepEqual(
      chooseIdentity(one, (id) => taken.get(id)),
      { id: second?.id, exists: true },
    );
  });

  it("tries every number once, and gives up when all are taken", () => {
    const all = [...identityCandidates(one)];
    assert.equal(new Set(all).size, 65535 - 256 + 1);
    assert.ok(all.every((id) => id >= 256 && id <= 65535));
    assert.equal(
      chooseIdentity(one, () => other),
      undefined,
    );
  });
});

describe("createLocalAllocator", () => {
  it("counts uses and gives a freed number out last", () => {
    const allocator = createCidrAllocator();
    const { id } = allocator.acquire(one);
    assert.deepEqual(allocator.acquire(one), { id, isNew: false });
    assert.deepEqual(allocator.release(one), { id, isGone: false });
    assert.deepEqual(allocator.release(one), { id, isGone: true });
    assert.equal(allocator.release(one), undefined);
    assert.equal(allocator.acquire(other).id, id + 1);
  });

  it("takes numbers over from before a restart, and says when the scope is full", () => {
    const allocator = createLocalAllocator(10, 11);
    assert.ok(allocator.restore(10 as NumericIdentity, one));
    assert.ok(!allocator.restore(10 as NumericIdentity, other));
    assert.equal(allocator.acquire(other).id, 11);
    assert.throws(() => allocator.acquire(labelSet(["k8s:app=third"])), RangeError);
  });
});

describe("labels of addresses", () => {
  const single = { ipv4: true, ipv6: false };
  it("write IPv6 with dashes, and read it back", () => {
    const prefix = Prefix("2001:db8::/32");
    assert.deepEqual(cidrLabels(prefix, { ipv4: true, ipv6: true }).texts, ["cidr:2001-db8--0/32", "reserved:world-ipv6"]);
    assert.equal(prefixOfLabel(label("2001-db8--0/32", "", "cidr")), prefix);
    assert.deepEqual(cidrLabels(Prefix("0.0.0.0/0"), single).texts, ["reserved:world"]);
  });

  it("carry the names and groups that took them", () => {
    assert.deepEqual(fqdnLabels([{ matchPattern: "*.example.com" }], 4, single).texts, ["fqdn:*.example.com", "reserved:world"]);
    const extra = cidrGroupLabels("g1", { env: "prod" });
    assert.deepEqual(
      extra.map((each) => each.key),
      ["io.cilium.policy.cidrgroupname/g1", "env", "env+prod"],
    );
  });
});

describe("reserved identities", () => {
  it("are known by name and number", () => {
    assert.equal(parseIdentity("host"), 1);
    assert.equal(parseIdentity("reserved:world"), 2);
    assert.equal(parseIdentity("1234"), 1234);
    assert.equal(parseIdentity("x"), undefined);
    assert.equal(reservedName(7 as NumericIdentity), "kube-apiserver");
  });
});
