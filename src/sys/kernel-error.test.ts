import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { errnoName } from "./errno.ts";
import { check, isKernelError, KernelError } from "./kernel-error.ts";

describe("check", () => {
  it("passes results on and throws for -errno, with name and object", () => {
    assert.equal(check("bpf", 3), 3);
    assert.throws(() => check("bpf OBJ_GET", -2, "/sys/fs/bpf/x"), {
      name: "KernelError",
      code: "ENOENT",
      message: "bpf OBJ_GET /sys/fs/bpf/x: ENOENT",
    });
  });
});

describe("isKernelError", () => {
  it("tells by class and code", () => {
    const error = new KernelError("bind", 98);
    assert.deepEqual([isKernelError(error), isKernelError(error, "EADDRINUSE"), isKernelError(error, "EPERM")], [true, true, false]);
    assert.equal(isKernelError(new Error("EADDRINUSE")), false);
  });
});

describe("errnoName", () => {
  it("prefers the usual name and knows bpf's own", () => {
    assert.deepEqual([1, 11, 95, 524, 9999].map(errnoName), ["EPERM", "EAGAIN", "EOPNOTSUPP", "ENOTSUPP", "E9999"]);
  });
});
