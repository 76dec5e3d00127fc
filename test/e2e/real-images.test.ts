import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { prepareDebianImages } from "#lab/images/debian.ts";
import { cilium, type Lab, root, startLab } from "./lab.ts";

/** Why Debian's packages cannot be had; false when they can. They are fetched the first time only. */
async function missingPackages(): Promise<string | false> {
  if (process.getuid?.() !== 0) return "needs root";
  return prepareDebianImages(() => undefined).then(
    () => false,
    (thrown: Error) => thrown.message.split("\n", 1)[0] ?? "",
  );
}

const skip = await missingPackages();

describe("cilium lab up --images real", { skip }, () => {
  let lab: Lab;
  before(async () => {
    lab = await startLab("--nodes", "1", "--images", "real");
    await lab.kubectl("apply", "-f", `${root}test/e2e/manifests/real-images.yaml`);
  });
  after(() => lab?.[Symbol.asyncDispose]());

  const kubectl = async (...args: string[]) => {
    const { code, stdout, stderr } = await lab.kubectl(...args);
    assert.equal(code, 0, `kubectl ${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  };
  const address = (pod: string) => kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}");
  const ready = (pod: string) => kubectl("wait", "--for=condition=Ready", `pod/${pod}`, "--timeout=120s");

  it("runs Debian's nginx, on the container's ports, with the pod's files, and logs its requests", async () => {
    await ready("web");
    const answer = await kubectl("exec", "client", "--", "curl", "-si", `http://${await address("web")}:8080/`);
    assert.match(answer, /^HTTP\/1.1 200 OK\r\nServer: nginx\/1\.\d+[\s\S]*from a ConfigMap/);
    assert.match(await kubectl("exec", "web", "--", "ps", "-eo", "user=,args="), /www-data +nginx: worker process/);
    assert.match(await kubectl("logs", "web"), /"GET \/ HTTP\/1.1" 200/);
  });

  it("runs Debian's PostgreSQL as its own user, with the user, password and database that the pod asks for", async () => {
    await ready("database");
    const database = `host=${await address("database")} user=shop dbname=orders`;
    const sql = "create table t (n int); insert into t values (42); select 'n=' || n || ' of ' || current_database() from t";
    assert.match(await kubectl("exec", "client", "--", "psql", "-At", "-c", sql, database), /^n=42 of orders$/m);
    assert.match(await kubectl("exec", "database", "--", "ps", "-eo", "user=,args="), /^postgres .*checkpointer/m);
    const wrong = await lab.kubectl("exec", "client", "--", "env", "PGPASSWORD=guess", "psql", "-c", "select 1", database);
    assert.match(wrong.stderr, /password authentication failed/);
  });

  it("ends them in order", async () => {
    // Their grace period is ten minutes: both end because they were asked to.
    await kubectl("delete", "pod", "database", "web", "--timeout=120s");
  });

  it("refuses a database without a password, in the official image's words", async () => {
    await kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/careless", "--timeout=90s");
    assert.match(await kubectl("logs", "careless"), /Database is uninitialized and superuser password is not specified/);
  });

  it("names a kind of images that there is not", async () => {
    const { code, stderr } = await cilium("lab", "up", "--images", "docker");
    assert.equal(code, 1);
    assert.match(stderr, /--images: found "docker", allowed are emulated, real/);
  });
});
