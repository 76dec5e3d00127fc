import { join } from "node:path";
import { createCookies } from "#datapath/cookies.ts";
import { createEndpointTable, type Endpoint, podKey } from "#endpoint/endpoint.ts";
import { createSubjectPolicyTable } from "#endpoint/subject-policy.ts";
import { createIpcache } from "#ipcache/ipcache.ts";
import type { Cluster } from "#k8s/client.ts";
import type { CiliumEndpoint } from "#k8s/types.ts";
import { type PolicySettings, settingsWith } from "#policy/settings.ts";
import { FlagError } from "#runtime/flags.ts";
import type { Logger } from "#runtime/logger.ts";
import { createDatabase, type Database } from "#statedb/database.ts";
import { createClusterNodes } from "./cluster-nodes.ts";
import type { AgentConfig } from "./config.ts";
import { createDnsNames } from "./dns-names.ts";
import { dnsSettings } from "./dns-settings.ts";
import { createFqdns } from "./fqdns.ts";
import { createIdentities } from "./identities.ts";
import { createPodsOfNode } from "./kubernetes.ts";
import { lbSettings } from "./lb-settings.ts";
import { createPolicies } from "./policies.ts";
import { createPolicyController } from "./policy-controller.ts";
import { createPrefixes } from "./prefixes.ts";
import { rememberCookiesIn } from "./remembered-cookies.ts";
import { rememberPoliciesIn } from "./remembered-policies.ts";
import { createServices } from "./services.ts";

/** Everything the agent knows, and the controllers between its tables. Nothing here touches the kernel. */
export type AgentState = ReturnType<typeof createState>;

export function createState({ cluster, log }: { readonly cluster: Cluster; readonly log: Logger }, config: AgentConfig, nodeName: string) {
  const db: Database = createDatabase();
  const settings = policySettings(config);
  const endpoints = createEndpointTable(db);
  const subjects = createSubjectPolicyTable(db);
  const inUse = (id: number) => endpoints.by("identity", id).length > 0;
  const identities = createIdentities({ db, cluster, log: log.child("identity"), inUse });
  const ipcache = createIpcache(db);
  const families = { ipv4: config["enable-ipv4"], ipv6: config["enable-ipv6"] };
  const prefixes = createPrefixes({ identities, ipcache }, families);
  const fqdns = createFqdns({ identities, log: log.child("fqdn") }, { path: join(config["state-dir"], "fqdn-identities.json") });
  const nodes = createClusterNodes({ db, ipcache, identities, prefixes }, { self: nodeName });
  const pods = createPodsOfNode({ db, cluster, log: log.child("pods") }, { cluster: config["cluster-name"], labels: config.labels });
  const remembered = rememberPoliciesIn(join(config["state-dir"], "policies"), log.child("policy"));
  const policies = createPolicies({ db, log: log.child("policy"), remembered }, settings);
  const controller = createPolicyController(
    {
      db,
      log: log.child("policy"),
      policies: policies.table,
      identities: identities.table,
      endpoints,
      subjects,
      onRules(repository) {
        prefixes.setRules(repository.prefixes());
        fqdns.setRules(repository.fqdns());
      },
    },
    settings,
  );
  const balancing = lbSettings(config);
  const services = createServices(
    { db, log: log.child("services"), nodes, onChange: () => controller.setServices(services.views) },
    { nodeName, topology: config["enable-service-topology"], clusterIpOnly: !balancing.enabled, ...balancing },
  );
  const cookies = createCookies();
  /** CiliumEndpoints that say they are of this node, ours or left over. */
  const ownObjects = new Map<string, CiliumEndpoint>();
  const audit = {
    /** For every endpoint of this node. */
    on: config["policy-audit-mode"],
    /** Whether what is denied to or from this endpoint passes: by its own setting, its pod's annotation, its namespace's or the agent's. */
    of: ({ auditMode, pod }: Pick<Endpoint, "auditMode" | "pod">): boolean =>
      auditMode || audit.on || pods.namespaces.get(pod.namespace)?.audit === true || pods.pods.get(podKey(pod))?.audit === true,
  };
  return {
    db,
    settings,
    endpoints,
    subjects,
    identities,
    ipcache,
    families,
    prefixes,
    fqdns,
    nodes,
    pods,
    policies,
    controller,
    services,
    ownObjects,
    audit,
    cookies,
    rememberedCookies: rememberCookiesIn(join(config["state-dir"], "rule-numbers.json"), cookies, log.child("usage")),
    dnsNames: createDnsNames(dnsSettings(config)),
  };
}

function policySettings(config: AgentConfig): PolicySettings {
  return settingsWith({
    clusterName: config["cluster-name"],
    ipv4: config["enable-ipv4"],
    ipv6: config["enable-ipv6"],
    enforcement: oneOf(config, "enable-policy", ["default", "always", "never"]),
    l7Merge: oneOf(config, "policy-l7-merge", ["union", "restrict"]),
    learnNames: true,
  });
}

/** The setting's value; throws `FlagError` when it is none of these. */
function oneOf<Value extends string>(config: AgentConfig, name: "enable-policy" | "policy-l7-merge", allowed: readonly Value[]): Value {
  const found = allowed.find((value) => value === config[name]);
  if (found === undefined) throw new FlagError("bad-flag", `--${name}: found "${config[name]}", allowed are ${allowed.join(", ")}`);
  return found;
}
