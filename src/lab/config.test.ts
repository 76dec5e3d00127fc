import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readLabConfig } from "./config.ts";
import { parseKindConfig } from "./kind-config.ts";

const KIND = `kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  disableDefaultCNI: true
  kubeProxyMode: none
nodes:
  - role: worker
    labels: { zone: b }
  - role: control-plane
  - role: worker
`;

describe("readLabConfig", () => {
  it("names and addresses nodes as kind does", () => {
    const { nodes } = readLabConfig({});
    assert.deepEqual(
      nodes.map(({ name, ipv4, podCidrs }) => [name, ipv4, ...podCidrs]),
      [
        ["cilia-control-plane", "172.18.0.2", "10.244.0.0/24"],
        ["cilia-worker", "172.18.0.3", "10.244.1.0/24"],
        ["cilia-worker2", "172.18.0.4", "10.244.2.0/24"],
      ],
    );
  });

  it("gives nodes both families when asked", () => {
    const [first] = readLabConfig({ nodes: 1, ipv6: true }).nodes;
    assert.equal(first?.ipv6, "fd00:172:18::2");
    assert.deepEqual(first?.podCidrs, ["10.244.0.0/24", "fd00:10:244:0::/64"]);
  });

  it("refuses a number of nodes that makes no cluster", () => {
    assert.throws(() => readLabConfig({ nodes: 0 }), /--nodes: found 0, a whole number from 1 to 50/);
    assert.throws(() => readLabConfig({ nodes: 2.5 }), /found 2.5/);
  });

  it("refuses a port that is none", () => {
    for (const apiPort of [0, -1, 1.5, 65_536, 99_999]) {
      assert.throws(() => readLabConfig({ apiPort }), {
        name: "LabConfigError",
        message: `--api-port: found ${apiPort}, a whole number from 1 to 65535 is needed`,
      });
    }
    assert.equal(readLabConfig({ apiPort: 65_535 }).apiPort, 65_535);
  });

  it("names a file that is not there", () => {
    assert.throws(() => readLabConfig({ configFile: "/nowhere.yaml" }), /--config \/nowhere.yaml: ENOENT/);
    assert.throws(() => readLabConfig({ configFile: "x", nodes: 2 }), /exclude each other|ENOENT/);
  });
});

describe("kind's configuration file", () => {
  it("puts the control plane first and keeps labels", () => {
    const { nodes, ipv6 } = parseKindConfig(KIND, "kind.yaml");
    assert.deepEqual(
      nodes.map(({ role }) => role),
      ["control-plane", "worker", "worker"],
    );
    assert.deepEqual(nodes[1]?.labels, { zone: "b" });
    assert.equal(ipv6, false);
  });

  it("reads port mappings and mounts of a node, and says what has no effect", () => {
    const text = KIND.replace(
      "  - role: control-plane\n",
      `  - role: control-plane
    image: kindest/node:v1.30.0
    extraPortMappings: [{ containerPort: 30080, hostPort: 8080 }]
    extraMounts: [{ hostPath: /etc, containerPath: /host-etc, readOnly: true }]
`,
    );
    const { nodes, notes } = parseKindConfig(text, "kind.yaml");
    assert.deepEqual(nodes[0]?.ports, [{ listenAddress: "0.0.0.0", hostPort: 8080, containerPort: 30080 }]);
    assert.deepEqual(nodes[0]?.mounts, [{ hostPath: "/etc", containerPath: "/host-etc", readOnly: true }]);
    assert.deepEqual(notes, ["kind.yaml:10: nodes[1].image has no effect in the lab"]);
  });

  const plane = (more: string) => KIND.replace("  - role: control-plane\n", `  - role: control-plane\n    ${more}\n`);
  const broken: readonly (readonly [what: string, text: string, complaint: RegExp])[] = [
    ["another kind", KIND.replace("Cluster", "Klaster"), /kind.yaml:1: kind: found "Klaster", "Cluster" is needed/],
    ["an unknown field", KIND.replace("nodes:", "nods:"), /kind.yaml:6: nods: unknown field; known are/],
    ["an unknown role", KIND.replace("role: control-plane", "role: master"), /kind.yaml:9: nodes\[1\].role: found "master"/],
    ["no control plane", KIND.replace("control-plane", "worker"), /found 0 control-plane nodes, the lab runs exactly one/],
    ["kube-proxy", KIND.replace("none", "iptables"), /kubeProxyMode: found "iptables"/],
    [
      "another range for pods",
      KIND.replace("kubeProxyMode: none", "podSubnet: 10.1.0.0/16"),
      /:5: networking.podSubnet: found "10.1.0.0\/16"; the lab's own is/,
    ],
    [
      "an address to serve at",
      KIND.replace("kubeProxyMode: none", "apiServerAddress: 10.0.0.1"),
      /apiServerAddress: found "10.0.0.1", "127.0.0.1" or/,
    ],
    [
      "a port that is none",
      plane("extraPortMappings: [{ containerPort: 0, hostPort: 1 }]"),
      /:10: nodes\[1\].extraPortMappings\[0\].containerPort: found 0/,
    ],
    ["a mapping of UDP", plane("extraPortMappings: [{ containerPort: 1, hostPort: 1, protocol: UDP }]"), /the lab forwards TCP only/],
    [
      "a mount of nothing",
      plane("extraMounts: [{ hostPath: /nowhere, containerPath: /x }]"),
      /extraMounts\[0\].hostPath: there is no \/nowhere/,
    ],
    ["broken YAML", "kind: [", /kind.yaml:1: /],
    ["an empty file", "", /kind.yaml:1: a kind cluster configuration is a mapping/],
  ];
  for (const [what, text, complaint] of broken) {
    it(`refuses ${what} and says where`, () => {
      assert.throws(() => parseKindConfig(text, "kind.yaml"), complaint);
    });
  }
});
