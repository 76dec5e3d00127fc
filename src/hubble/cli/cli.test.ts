import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";
import { runHubble } from "./main.ts";

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function hubble(
  line: string | readonly string[],
  more: { readonly env?: Record<string, string>; readonly input?: string } = {},
): Promise<Result> {
  const text = { out: "", err: "" };
  const stdin = new PassThrough();
  stdin.end(more.input ?? "");
  const code = await runHubble(typeof line === "string" ? line.split(" ") : line, {
    env: { HOME: "/nonexistent", ...more.env },
    out(part) {
      text.out += part;
    },
    err(part) {
      text.err += part;
    },
    stdin,
    terminal: false,
    errTerminal: false,
    signal: new AbortController().signal,
    version: "1.2.3",
  });
  return { code, ...text };
}

/** The filters `hubble observe` would send. */
async function filters(flags: string): Promise<string> {
  const { code, out, err } = await hubble(`observe ${flags} --print-raw-filters`);
  assert.equal(code, 0, err);
  return out;
}

function allow(...lines: string[]): string {
  return `allowlist:\n${lines.map((line) => `    - '${line}'\n`).join("")}`;
}

describe("filters of hubble observe", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["--verdict DROPPED", allow('{"verdict":["DROPPED"]}')],
    ["--namespace shop", allow('{"source_pod":["shop/"]}', '{"destination_pod":["shop/"]}')],
    [
      "--verdict DROPPED --namespace shop",
      allow('{"source_pod":["shop/"],"verdict":["DROPPED"]}', '{"destination_pod":["shop/"],"verdict":["DROPPED"]}'),
    ],
    ["--pod production/frontend", allow('{"source_pod":["production/frontend"]}', '{"destination_pod":["production/frontend"]}')],
    ["--pod web", allow('{"source_pod":["web"]}', '{"destination_pod":["web"]}')],
    ["-A --pod web", allow('{"source_pod":["/web"]}', '{"destination_pod":["/web"]}')],
    ["--to-namespace shop --to-namespace lab --to-pod web", allow('{"destination_pod":["shop/web","lab/web"]}')],
    ["-n shop --pod web", allow('{"source_pod":["shop/web"]}', '{"destination_pod":["shop/web"]}')],
    ["-n shop --from-pod web", allow('{"source_pod":["shop/web"]}')],
    ["-n shop --from-pod shop/web", allow('{"source_pod":["shop/web"]}')],
    ["--from-pod web --to-pod api", allow('{"source_pod":["web"],"destination_pod":["api"]}')],
    ["--to-label app=backend", allow('{"destination_label":["app=backend"]}')],
    ["-l a=b,c=d -l e", allow('{"source_label":["a=b,c=d","e"]}', '{"destination_label":["a=b,c=d","e"]}')],
    ["--to-fqdn api.stripe.com --from-namespace shop", allow('{"source_pod":["shop/"],"destination_fqdn":["api.stripe.com"]}')],
    ["--to-port 443 --protocol tcp", allow('{"protocol":["tcp"],"destination_port":["443"]}')],
    ["--to-identity world --from-identity 4208", allow('{"source_identity":[4208],"destination_identity":[2]}')],
    ["--service shop/web", allow('{"source_service":["shop/web"]}', '{"destination_service":["shop/web"]}')],
    ["--to-workload Deployment/web", allow('{"destination_workload":[{"name":"web","kind":"Deployment"}]}')],
    ["--type trace:to-proxy", allow('{"event_type":[{"type":4,"match_sub_type":true,"sub_type":1}]}')],
    ["--type l3/l4", allow('{"event_type":[{"type":1},{"type":3},{"type":4},{"type":5}]}')],
    ["-t drop,l7", allow('{"event_type":[{"type":1},{"type":129}]}')],
    ["--tcp-flags SYN,ACK", allow('{"tcp_flags":[{"SYN":true,"ACK":true}]}')],
    ["--http-header X-Team:red --http-status 5+", allow('{"http_status_code":["5+"],"http_header":[{"key":"X-Team","value":"red"}]}')],
    ["--traffic-direction egress -6", allow('{"traffic_direction":["EGRESS"],"ip_version":["IPv6"]}')],
    ["--drop-reason-desc POLICY_DENIED", allow('{"drop_reason_desc":["POLICY_DENIED"]}')],
    ["--fqdn *.shop.io", allow('{"source_fqdn":["*.shop.io"]}', '{"destination_fqdn":["*.shop.io"]}')],
    ["--ip 10.0.0.0/8", allow('{"source_ip":["10.0.0.0/8"]}', '{"destination_ip":["10.0.0.0/8"]}')],
    ["--identity 42", allow('{"source_identity":[42]}', '{"destination_identity":[42]}')],
    ["--port 53", allow('{"source_port":["53"]}', '{"destination_port":["53"]}')],
    ["--cluster east", allow('{"source_cluster_name":["east"]}', '{"destination_cluster_name":["east"]}')],
    ["--to-cluster west", allow('{"destination_cluster_name":["west"]}')],
    ["--workload db", allow('{"source_workload":[{"name":"db"}]}', '{"destination_workload":[{"name":"db"}]}')],
    ["--to-service web", allow('{"destination_service":["web"]}')],
    ["--node-name k8s1 --node-label zone=a", allow('{"node_name":["k8s1"],"node_labels":["zone=a"]}')],
    ["--uuid u-1", allow('{"uuid":["u-1"]}')],
    ["--trace-id abc", allow('{"trace_id":["abc"]}')],
    ["--ip-trace-id 9", allow('{"ip_trace_id":["9"]}')],
    ["--snat-ip 1.2.3.4", allow('{"source_ip_xlated":["1.2.3.4"]}')],
    ["-4", allow('{"ip_version":["IPv4"]}')],
    ["--ip-version v6", allow('{"ip_version":["IPv6"]}')],
    ["--interface lxc12", allow('{"interface":[{"name":"lxc12"}]}')],
    ["--reply", allow('{"reply":[true]}')],
    ["--not-reply", allow('{"reply":[false]}')],
    ["--http-method GET --http-path /x", allow('{"http_method":["GET"],"http_path":["/x"]}')],
    ["--http-url http://a/x", allow('{"http_url":["http://a/x"]}')],
    ["--encrypted", allow('{"encrypted":[true]}')],
    ["--unencrypted", allow('{"encrypted":[false]}')],
    ["--not --from-ip 2.2.2.2 --verdict ERROR", `${allow('{"verdict":["ERROR"]}')}denylist:\n    - '{"source_ip":["2.2.2.2"]}'\n`],
    ['--allowlist {"uuid":["a"]}', allow('{"uuid":["a"]}')],
    [
      `--http-path it's<a> --not -t agent:policy-updated --allowlist {"uuid":["a"]}{"uuid":["}"]}`,
      `${allow(`{"http_path":["it''s\\u003ca\\u003e"]}`, '{"uuid":["a"]}', '{"uuid":["}"]}')}` +
        `denylist:\n    - '{"event_type":[{"type":130,"match_sub_type":true,"sub_type":5}]}'\n`,
    ],
    ["--last 3", "{}\n"],
  ];
  for (const [flags, expected] of cases) it(flags, async () => assert.equal(await filters(flags), expected));
});

describe("errors of hubble observe", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["--first 1 --last 1", /cannot set both --first and --last/],
    ["--first 1 --all", /cannot set both --first and --all/],
    ["--first 1 --follow", /cannot set both --first and --follow/],
    ["--last 1 --all", /cannot set both --last and --all/],
    ["-o table --follow", /table output format is not compatible with follow mode/],
    ["--pod a --from-pod b", /invalid argument "b" for "--from-pod" flag: filters --from-pod and --pod cannot be combined/],
    ["--namespace a --to-pod b", /filters --to-pod and --namespace cannot be combined/],
    ["--label a --from-label b", /filters --label and --from-label cannot be combined/],
    ["--port 1 --to-port 2", /filters --port and --to-port cannot be combined/],
    ["--namespace a --from-pod b/c", /namespace conflict: "a" does not contain "b\/c"/],
    ["--from-namespace a --from-pod b/c", /namespace conflict: "a" does not contain "b\/c"/],
    ["--pod a/b --service c/d", /namespace of service "c\/d" conflict with pod "a"/],
    ["--field-mask time -o dict", /dict output format is not compatible with custom field mask/],
    ["--basic-auth-username x", /must specify both basic-auth-username and basic-auth-password/],
    ["--tls-client-key-file x", /certificate and private key are both required/],
    ["--tls-client-key-file x --tls-client-cert-file y", /transport layer security required/],
    ["--ip-trace-id 0", /invalid --ip-trace-id value; must be greater than 0/],
    ["--allowlist {", /invalid --allowlist flag: failed to decode '\{'/],
    ["--ip 1.1.1.1 --pod b", /filters --ip and --pod cannot be combined/],
    ["--verdict DROPPED --not", /trailing --not found in the arguments/],
    ["--not --not --verdict DROPPED", /consecutive --not statements/],
    ["--verdict dropped", /invalid --verdict value: dropped: expected FORWARDED, DROPPED, /],
    ["--type l5", /unable to parse type 'l5', not a known type name and unable to parse as numeric value: expected l3\/l4, .*trace/],
    ["--namspace x", /unknown flag: --namspace; did you mean --namespace\?/],
    ["--drop-reason-desc denied", /invalid --drop-reason-desc value: denied: expected .*POLICY_DENIED/],
    ["--tcp-flags FOO", /unknown tcp flag: FOO: expected FIN, SYN, /],
    ["--port http", /invalid port: http: expected a number from 0/],
    ["--since yesterday", /failed to parse the since time: failed to convert yesterday to time/],
    ["--not --last 3", /--not cannot be used with --last/],
    ["-o xml", /invalid output format: xml/],
    ["--last x", /invalid argument "x" for "--last" flag/],
    ["--from-pod", /flag needs an argument: --from-pod/],
  ];
  for (const [flags, expected] of cases) {
    it(flags, async () => {
      const { code, err } = await hubble(`observe --server unix:///nonexistent.sock ${flags}`);
      assert.match(err, expected);
      assert.equal(code, 1);
    });
  }
});

const line = (uuid: string, time: string, verdict: string) =>
  JSON.stringify({
    flow: { uuid, time, verdict, event_type: { type: 1, sub_type: 133 }, IP: { source: "10.0.0.1", destination: "10.0.0.2" } },
    time,
  });

describe("hubble observe --input-file -", () => {
  const input = [
    line("a", "2026-01-01T00:00:01Z", "DROPPED"),
    line("b", "2026-01-01T00:00:02Z", "FORWARDED"),
    line("c", "2026-01-01T00:00:03Z", "DROPPED"),
  ].join("\n");
  const uuids = async (flags: string) => {
    const { out } = await hubble(`observe --input-file - -o json ${flags}`, { input });
    return out.split("\n").flatMap((text) => (text === "" ? [] : [(JSON.parse(text) as { flow: { uuid: string } }).flow.uuid]));
  };
  it("prints what matches", async () => assert.deepEqual(await uuids("--verdict DROPPED"), ["a", "c"]));
  it("prints the first ones", async () => assert.deepEqual(await uuids("--first 1"), ["a"]));
  it("prints the last ones", async () => assert.deepEqual(await uuids("--last 2"), ["b", "c"]));
  it("knows times", async () => assert.deepEqual(await uuids("--since 2026-01-01T00:00:02Z --until 2026-01-01T00:00:02Z"), ["b"]));
  it("prints all when nothing is said, and breaks lines at nothing but line feeds", async () => {
    const many = Array.from({ length: 30 }, (_, at) => line(`${at}\u2028`, "2026-01-01T00:00:01Z", "DROPPED")).join("\n");
    const { out, err } = await hubble("observe --input-file -", { input: many });
    assert.deepEqual([out.split("\n").length - 1, err], [30, ""]);
  });
  it("says which line is no flow", async () => {
    const { err } = await hubble("observe --input-file -", { input: `${input}\n{` });
    assert.match(err, /line 4 is no flow/);
  });
});

describe("hubble", () => {
  it("prints its version", async () => assert.match((await hubble("version")).out, /^hubble v1\.2\.3 on /));
  it("prints help", async () => {
    assert.match((await hubble([])).out, /observe +Observe flows/);
    assert.match((await hubble("observe --help")).out, /-f, --follow +Follow flows output/);
  });
  it("takes raw filters from a config file, as it prints them", async () => {
    const config = join(mkdtempSync(join(tmpdir(), "hubble-")), "config.yaml");
    const printed = await filters(`--verdict DROPPED --not --to-port 53`);
    writeFileSync(config, printed);
    assert.equal(await filters(`--config ${config}`), printed);
  });
  it("shows the help of a command that needs another word", async () =>
    assert.match((await hubble("list")).out, /hubble list nodes\|namespaces/));
  it("knows no other command", async () => assert.match((await hubble("record")).err, /unknown command "record"/));
  it("completes for three shells", async () => {
    assert.match((await hubble("completion bash")).out, /complete -F _hubble hubble/);
    assert.match((await hubble("completion zsh")).out, /^#compdef hubble/);
    assert.match((await hubble("completion fish")).out, /-l verdict .*FORWARDED/);
  });
  it("takes the server from the environment, and the flag before it", async () => {
    const env = { HUBBLE_SERVER: "unix:///from-environment.sock" };
    assert.match((await hubble("config get server", { env })).out, /from-environment/);
    assert.match((await hubble("config get server --server other:1", { env })).out, /other:1/);
  });
  it("says whom it cannot reach", async () => {
    const { code, err } = await hubble("status --server unix:///nonexistent.sock");
    assert.equal(code, 1);
    assert.match(err, /failed to connect to 'unix:\/\/\/nonexistent\.sock': .*is the agent running\?/);
  });
});
