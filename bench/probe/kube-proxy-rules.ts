/** A service as kube-proxy's rule sets have it: one address, one backend. */
export interface RuledService {
  readonly ip: string;
  readonly port: number;
  readonly backend: string;
  readonly backendPort: number;
}

const name = (index: number) => index.toString(36).toUpperCase().padStart(16, "0");

/** What kube-proxy gives `iptables-restore` in mode iptables: a jump for each service, a chain for it and one for each endpoint. */
export function iptablesRules(services: readonly RuledService[]): string {
  const chains = services.flatMap((_, i) => [`:KUBE-SVC-${name(i)} - [0:0]`, `:KUBE-SEP-${name(i)} - [0:0]`]);
  const rules = services.flatMap(({ ip, port, backend, backendPort }, i) => [
    `-A KUBE-SERVICES -d ${ip}/32 -p tcp -m tcp --dport ${port} -j KUBE-SVC-${name(i)}`,
    `-A KUBE-SVC-${name(i)} -j KUBE-SEP-${name(i)}`,
    `-A KUBE-SEP-${name(i)} -p tcp -m tcp -j DNAT --to-destination ${backend}:${backendPort}`,
  ]);
  return ["*nat", ":KUBE-SERVICES - [0:0]", ...chains, "-A PREROUTING -j KUBE-SERVICES", ...rules, "COMMIT", ""].join("\n");
}

/** What kube-proxy gives `nft -f` in mode nftables: a verdict map from address, protocol and port to the service's chain. */
export function nftablesRules(services: readonly RuledService[]): string {
  const chains = services.map(
    ({ backend, backendPort }, i) => `  chain service-${i} {\n    meta l4proto tcp dnat to ${backend}:${backendPort}\n  }`,
  );
  const elements = services.map(({ ip, port }, i) => `${ip} . tcp . ${port} : goto service-${i}`);
  return [
    "table ip kube-proxy {",
    ...chains,
    "  map service-ips {",
    "    type ipv4_addr . inet_proto . inet_service : verdict",
    `    elements = { ${elements.join(", ")} }`,
    "  }",
    "  chain nat-prerouting {",
    "    type nat hook prerouting priority dstnat; policy accept;",
    "    ip daddr . meta l4proto . th dport vmap @service-ips",
    "  }",
    "}",
    "",
  ].join("\n");
}
