import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readManifest } from "./manifests.ts";

interface PodTemplate {
  readonly spec: {
    readonly containers: readonly {
      readonly name: string;
      readonly command: readonly string[];
      readonly args?: readonly string[];
      readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
    }[];
    readonly volumes: readonly { readonly name: string; readonly configMap?: { readonly name: string } }[];
  };
}

interface Workload {
  readonly spec?: { readonly template?: PodTemplate };
}

describe("the manifest of Cilium", () => {
  const templates = readManifest("cilium.yaml").flatMap((object) => (object as Workload).spec?.template ?? []);
  for (const { spec } of templates) {
    for (const { name, command, args, volumeMounts } of spec.containers) {
      it(`gives ${name} (${command[0]}) the settings of the ConfigMap cilium-config`, () => {
        const directory = args?.find((arg) => arg.startsWith("--config-dir="))?.split("=")[1];
        const mounted = volumeMounts.find(({ mountPath }) => mountPath === directory)?.name;
        assert.equal(spec.volumes.find((volume) => volume.name === mounted)?.configMap?.name, "cilium-config");
      });
    }
  }
});
