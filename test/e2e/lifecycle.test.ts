// The lab's own beginning and end, and what is left of one that had no end.
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { labCgroup } from "#lab/leftovers.ts";
import { isAlive, readRecord, takeLock } from "#lab/lock.ts";
import { paths } from "#lab/paths.ts";
import { removeCgroup } from "#lab/process/cgroup.ts";
import { mounts, unmount } from "#sys/mount.ts";
import { cilium, root, run } from "./lab.ts";

interface Report {
  readonly pid: number;
  readonly nodes: readonly { readonly name: string; readonly pid: number }[];
}

async function readReport(): Promise<Report> {
  return JSON.parse((await cilium("lab", "status", "-o", "json")).stdout) as Report;
}

const up = (...args: string[]) => cilium("lab", "up", "--nodes", "1", "--bare", "--no-wait", ...args);

/** The lock, once the process that had it has ended: a kill is only on its way when it has been sent. */
async function lockOf(pid: number): Promise<NonNullable<ReturnType<typeof takeLock>>> {
  for (let attempt = 0; attempt < 600; attempt++) {
    const lock = takeLock();
    if (lock !== undefined) return lock;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return assert.fail(`process ${pid} still has the lab's lock, a minute after it was killed`);
}

/**
 * What a reboot does to a lab: no process, no mount, no cgroup and nothing in /run is left, while /var/lib is as it was. The record tells of a process
 * that there is again, with the same start time: another one, since the boot is another.
 */
async function reboot(pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  await removeCgroup(labCgroup());
  const of = (path: string) => path.startsWith("/run/cilia-lab") || path.startsWith("/run/netns/cilia-");
  for (const { path } of mounts()
    .filter((mount) => of(mount.path))
    .toReversed())
    unmount(path);
  rmSync(paths.rootfs.replace(/\/rootfs$/, ""), { recursive: true });
  assert.ok(readdirSync("/run/netns").length > 0, "some machines keep the files of /run: what they stood for is gone");
  const record = readRecord();
  using lock = await lockOf(pid);
  const own = lock.write([]);
  assert.ok(record && isAlive(own));
  writeFileSync(paths.lock, JSON.stringify({ ...own, netns: record.netns, boot: "00000000-0000-0000-0000-000000000000" }));
}

const LACKING: readonly (readonly [what: string, hide: string, row: RegExp])[] = [
  [
    "the kernel's BTF",
    "mount -t tmpfs none /sys/kernel/btf",
    /^ {2}kernel BTF +the datapath does not load +a kernel with CONFIG_DEBUG_INFO_BTF$/m,
  ],
  [
    "all of root's capabilities",
    `setpriv --bounding-set=-dac_override,-bpf sh -c 'exec bin/cilium lab up' #`,
    /^ {2}capabilities DAC_OVERRIDE, BPF +no eBPF program loads, /m,
  ],
  ["space on the disk", "mount -t tmpfs -o size=1m none /var/lib", /^ {2}200 MB free in \/var\/lib +no logs, no state +free some space$/m],
];

describe("the lab's life", { skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
  before(async () => {
    const { code, stderr } = await up();
    assert.equal(code, 0, stderr);
  });
  after(() => cilium("lab", "down"));

  it("is not mistaken for the lab of another checkout", async () => {
    const other = mkdtempSync(join(tmpdir(), "checkout-"));
    try {
      for (const part of ["bin", "src", "package.json"]) cpSync(`${root}${part}`, join(other, part), { recursive: true });
      for (const part of ["node_modules", "build"]) symlinkSync(`${root}${part}`, join(other, part));
      const { code, stdout, stderr } = await run(join(other, "bin/cilium"), ["lab", "demo"]);
      assert.equal(code, 1);
      assert.equal(stdout, "");
      const home = root.slice(0, -1);
      assert.match(
        stderr,
        new RegExp(`a lab runs already \\(process \\d+, of the checkout ${home}\\); end it with: ${home}/bin/cilium lab down`),
      );
    } finally {
      rmSync(other, { recursive: true });
    }
  });

  it("tells anyone but root that it needs root, not that there is no lab", async () => {
    for (const verb of ["status", "down"]) {
      const { code, stderr } = await run("setpriv", ["--reuid=65534", "--clear-groups", "bin/cilium", "lab", verb]);
      assert.deepEqual([code, /^cilium: the lab needs root: .*sudo\n$/.test(stderr)], [1, true], stderr);
    }
    assert.equal((await readReport()).nodes.length, 1);
  });

  it("refuses a second lab, and cleans up after one that was killed", async () => {
    const second = await up();
    assert.equal(second.code, 1);
    assert.match(second.stderr, /a lab runs already \(process \d+\); end it with: cilium lab down/);
    const { pid, nodes } = await readReport();
    process.kill(pid, "SIGKILL");
    (await lockOf(pid))[Symbol.dispose]();
    const both = await Promise.all([up(), up()]);
    const [winner, loser] = both.toSorted((a, b) => a.code - b.code);
    assert.equal(winner?.code, 0, winner?.stderr);
    assert.equal(loser?.code, 1, "of two that find a dead lab at once, one gets the machine");
    assert.match(loser?.stderr ?? "", /a lab runs already \(process \d+\)|another lab is being started/);
    assert.equal((await readReport()).nodes.length, 1);
    for (const node of nodes) assert.equal(existsSync(`/proc/${node.pid}/root/run`), false, `what held ${node.name} is gone`);
    assert.equal((await cilium("lab", "down")).code, 0);
    assert.equal(existsSync("/run/netns/cilia-worker"), false);
    assert.doesNotMatch(readFileSync("/proc/self/mountinfo", "utf8"), / \/run\/cilia-lab[/ ]/);
  });

  it("boots after a reboot, which leaves its state on disk and nothing else", async () => {
    assert.equal((await up()).code, 0);
    const { pid } = await readReport();
    await reboot(pid);
    assert.equal((await cilium("lab", "status")).code, 1);
    const again = await up();
    assert.equal(again.code, 0, again.stderr);
    assert.equal((await readReport()).nodes.length, 1);
    assert.equal((await cilium("lab", "down")).code, 0);
  });

  for (const [what, hide, row] of LACKING)
    it(`says what does not work on a machine without ${what}, and starts nothing`, async () => {
      const { code, stdout, stderr } = await run("unshare", ["-m", "sh", "-c", `${hide} && exec bin/cilium lab up`]);
      assert.equal(code, 1);
      assert.equal(stdout, "");
      assert.match(stderr, /this machine lacks what the lab needs:\n {2}MISSING +WITHOUT IT +DO\n/);
      assert.match(stderr, row);
      assert.notEqual((await cilium("lab", "status")).code, 0);
    });
});
