import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readingsOf } from "./path-readings.ts";

/** What a lenient server makes of a path must be among its readings. */
const READINGS: readonly (readonly [string, string])[] = [
  ["/public/../admin", "/admin"],
  ["/public/..%2fadmin", "/admin"],
  ["/public/%2e%2e/admin", "/admin"],
  ["/public/%2E./admin", "/admin"],
  ["/public/%252e%252e/admin", "/admin"],
  ["/public/..;/admin", "/admin"],
  ["/public/..;x=1/admin", "/admin"],
  ["/public/;a=b/../admin", "/public/admin"],
  ["/public\\..\\admin", "/admin"],
  ["/public/..%5cadmin", "/admin"],
  ["//admin", "/admin"],
  ["//public/admin", "/admin"],
  ["///public/admin?x=1", "/admin?x=1"],
  ["/\\public/admin", "/admin"],
  ["//public", "/"],
  ["//public/x/../admin", "/admin"],
  ["/./admin", "/admin"],
  ["/x/..//../admin", "/admin"],
  ["/%61dmin", "/admin"],
  ["/public/a//b", "/public/a/b"],
  ["/public/.", "/public/"],
  ["/public/..", "/"],
  ["/..", "/"],
  ["/public/../admin?x=/..", "/admin?x=/.."],
  ["/a%3bx/../admin", "/admin"],
  // Steps of several servers, or of one, in another order: `%2e%2e` goes up and `%2f` is no slash (URL Standard); parameters are cut before anything is decoded.
  ["/public/x%2fy/%2e%2e/%2e%2e/admin", "/admin"],
  ["/public/x;%2fy/%2e%2e/%2e%2e/admin", "/admin"],
  ["/public/x%5cy/.%2e/%2e./admin", "/admin"],
  ["/public/x//%2e%2e/../admin", "/admin"],
  ["/public/x%252fy/%2e%2e/%2e%2e/admin", "/admin"],
];

describe("path readings", () => {
  for (const [path, reading] of READINGS) {
    it(`reads ${path} as ${reading}, too`, () => assert.ok(readingsOf(path)?.includes(reading), String(readingsOf(path))));
  }

  for (const path of [
    "/",
    "/get?x=1",
    "/a-b_c~d/e.f",
    "/a%20b",
    "/%c3%a9",
    "/%e0%a4%a8",
    "/voil%e0",
    "/x?y=%c0%ae",
    "/x?y=//z/../%2e",
    "*",
    "/file.tar.gz",
    "/a%3Fb",
  ]) {
    it(`finds nothing odd about ${path}`, () => assert.deepEqual(readingsOf(path), []));
  }

  for (const path of [
    "/public/%c0%ae%c0%ae/admin",
    "/public/..%c0%afadmin",
    "/public/%E0%80%AE%e0%80%ae/",
    "/%f0%80%80%af",
    "/%u002e%u002e/admin",
  ]) {
    it(`takes ${path} for an attack`, () => assert.equal(readingsOf(path), null));
  }

  it("takes what hides such a path for one, too", () => assert.equal(readingsOf("/public/%25c0%25ae%25c0%25ae/admin"), null));

  it("takes what can be read in more ways than anybody can mean for one", () => {
    assert.equal(readingsOf(`/${"a;b%2f..%5c//%252e/./".repeat(20)}`), null);
    assert.equal(readingsOf(`/${"a/../".repeat(60_000)}`), null);
  });

  it("reads each that the URL Standard reads", () => {
    const pieces = ["public", "x%2fy", "%2e%2e", "..", ".%2E", "a;b", "", ".", "x%5c"];
    for (let n = 0; n < pieces.length ** 4; n += 7) {
      const path = `/public/${[n, n / 9, n / 81, n / 729].map((digit) => pieces[Math.floor(digit) % 9]).join("/")}/admin`;
      const readings = readingsOf(path);
      const standard = new URL(path, "http://a").pathname;
      assert.ok(readings === null || path === standard || readings.includes(standard), `${path} is ${standard}: ${readings}`);
    }
  });

  it("gives up on paths escaped over and over", () => assert.equal(readingsOf("/%25252525252e/"), null));
});
