import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { LocalClient } from "../client.ts";
import { ApiError } from "../errors.ts";
import { deploymentNamed, startTestServer } from "../fixture.ts";
import { at } from "../object.ts";

const configMap = (data: Record<string, string>) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "c", namespace: "default" },
  data,
});

async function withClient(body: (client: LocalClient) => void): Promise<void> {
  await using server = await startTestServer();
  body(server.api.client);
}

describe("server-side apply", () => {
  it("creates, then leaves everything alone when nothing changed", () =>
    withClient((client) => {
      const first = client.apply("configmaps", configMap({ a: "1" }), { fieldManager: "me" });
      const second = client.apply("configmaps", configMap({ a: "1" }), { fieldManager: "me" });
      assert.equal(second.metadata.resourceVersion, first.metadata.resourceVersion);
      assert.deepEqual(first.metadata.managedFields?.[0]?.fieldsV1, { "f:data": { "f:a": {} } });
    }));

  it("removes what the manager no longer says, and keeps what others said", () =>
    withClient((client) => {
      client.apply("configmaps", configMap({ a: "1", b: "1" }), { fieldManager: "me" });
      client.apply("configmaps", configMap({ b: "1", c: "1" }), { fieldManager: "you" });
      const after = client.apply("configmaps", configMap({ d: "1" }), { fieldManager: "me" });
      assert.deepEqual(after.data, { b: "1", c: "1", d: "1" });
    }));

  it("refuses to change what another manager owns, names it, and takes it over when forced", () =>
    withClient((client) => {
      client.apply("configmaps", configMap({ a: "1" }), { fieldManager: "me" });
      client.patch("configmaps", "c", "default", { data: { a: "2" } }, { fieldManager: "editor" });
      const again = () => client.apply("configmaps", configMap({ a: "3" }), { fieldManager: "me" });
      assert.throws(
        again,
        (thrown: ApiError) =>
          thrown.httpStatus === 409 && thrown.message === 'Apply failed with 1 conflict: conflict with "editor" using v1: .data.a',
      );
      const forced = client.apply("configmaps", configMap({ a: "3" }), { fieldManager: "me", force: true });
      assert.deepEqual(forced.data, { a: "3" });
      assert.deepEqual(
        forced.metadata.managedFields?.map(({ manager }) => manager),
        ["me"],
      );
    }));

  it("shares a field that both say alike", () =>
    withClient((client) => {
      client.apply("configmaps", configMap({ a: "1" }), { fieldManager: "me" });
      client.apply("configmaps", configMap({ a: "1" }), { fieldManager: "you" });
      const after = client.apply("configmaps", configMap({}), { fieldManager: "me" });
      assert.deepEqual(after.data, { a: "1" });
    }));

  it("merges containers and ports by their keys, with the default protocol", () =>
    withClient((client) => {
      client.apply("deployments.apps", deploymentNamed("web", { ports: [{ containerPort: 80 }] }), { fieldManager: "me" });
      const other = deploymentNamed("web", {
        ports: [{ containerPort: 80, protocol: "TCP", name: "http" }],
        env: [{ name: "A", value: "1" }],
      });
      client.apply("deployments.apps", other, { fieldManager: "you" });
      const after = client.apply("deployments.apps", deploymentNamed("web"), { fieldManager: "you" });
      const [container] = at(after, "spec", "template", "spec", "containers") as { ports: unknown; env?: unknown }[];
      assert.deepEqual(container?.ports, [{ containerPort: 80, protocol: "TCP" }]);
      assert.equal(container?.env, undefined);
    }));

  it("gives an item back when its only manager drops it", () =>
    withClient((client) => {
      client.apply("deployments.apps", deploymentNamed("web", { ports: [{ containerPort: 80 }, { containerPort: 81 }] }), {
        fieldManager: "me",
      });
      const after = client.apply("deployments.apps", deploymentNamed("web", { ports: [{ containerPort: 81 }] }), { fieldManager: "me" });
      const [container] = at(after, "spec", "template", "spec", "containers") as { ports: unknown }[];
      assert.deepEqual(container?.ports, [{ containerPort: 81, protocol: "TCP" }]);
    }));

  it("records updates by manager and subresource", () =>
    withClient((client) => {
      client.create("deployments.apps", deploymentNamed("web"), { fieldManager: "creator" });
      client.patch(
        "deployments.apps",
        "web",
        "default",
        { status: { replicas: 1 } },
        { subresource: "status", fieldManager: "controller" },
      );
      const entries = client.get<{ metadata: { managedFields: { manager: string; subresource?: string; fieldsV1: object }[] } }>(
        "deployments.apps",
        "web",
        "default",
      )?.metadata.managedFields;
      assert.deepEqual(
        entries?.map(({ manager, subresource }) => [manager, subresource]),
        [
          ["creator", undefined],
          ["controller", "status"],
        ],
      );
      assert.deepEqual(entries?.[1]?.fieldsV1, { "f:status": { "f:replicas": {} } });
    }));

  it("refuses list items without their key, or twice with the same", () =>
    withClient((client) => {
      const apply = (ports: object[]) => client.apply("deployments.apps", deploymentNamed("web", { ports }), { fieldManager: "me" });
      assert.throws(() => apply([{ containerPort: 80 }, { containerPort: 80, protocol: "TCP" }]), /already has an item with the same/);
      const account = { metadata: { name: "sa", namespace: "default" }, secrets: [{}], apiVersion: "v1", kind: "ServiceAccount" };
      assert.throws(() => client.apply("serviceaccounts", account, { fieldManager: "me" }), /must have name/);
    }));

  it("refuses managedFields in a configuration and names that differ", () =>
    withClient((client) => {
      const managedFields = [{ manager: "x", operation: "Apply", fieldsV1: {} }];
      const withFields = { ...configMap({}), metadata: { name: "c", namespace: "default", managedFields } };
      assert.throws(() => client.apply("configmaps", withFields, { fieldManager: "me" }), /managedFields must be nil/);
      assert.throws(() => client.patch("configmaps", "other", "default", configMap({}), { type: "apply" }), ApiError);
    }));
});
