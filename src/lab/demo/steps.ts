/** What a probe saw: an HTTP status, a name resolved, silence until the time-out, or how else it ended. */
export type Seen = "200" | "403" | "resolved" | "dropped" | string;

export const PROBE_NAMES = ["dns", "get", "post", "attacker", "world"] as const;
export type ProbeName = (typeof PROBE_NAMES)[number];

export interface DemoStep {
  readonly title: string;
  /** Manifest of `examples/policy-progression` that is applied first. */
  readonly file?: string;
  readonly expected: Readonly<Record<ProbeName, Seen>>;
}

const ALL_DROPPED = { dns: "dropped", get: "dropped", post: "dropped", attacker: "dropped", world: "dropped" } as const;

/** The progression: each step adds to the one before. */
export const STEPS: readonly DemoStep[] = [
  { title: "no policy", expected: { dns: "resolved", get: "200", post: "200", attacker: "200", world: "200" } },
  { title: "default deny", file: "01-default-deny.yaml", expected: ALL_DROPPED },
  { title: "allow DNS", file: "02-allow-dns.yaml", expected: { ...ALL_DROPPED, dns: "resolved" } },
  {
    title: "L3/L4 allow",
    file: "03-allow-frontend-to-backend.yaml",
    expected: { dns: "resolved", get: "200", post: "200", attacker: "dropped", world: "dropped" },
  },
  {
    title: "L7 HTTP",
    file: "04-allow-frontend-to-backend-l7.yaml",
    expected: { dns: "resolved", get: "200", post: "403", attacker: "dropped", world: "dropped" },
  },
  {
    title: "egress lockdown",
    file: "05-backend-egress.yaml",
    expected: { dns: "resolved", get: "200", post: "403", attacker: "dropped", world: "dropped" },
  },
];

export interface Probe {
  readonly name: ProbeName;
  readonly heading: string;
  /** Deployment that it is sent from. */
  readonly from: { readonly namespace: string; readonly app: string };
  readonly command: readonly string[];
}

const TIME_OUT_SECONDS = "1.2";

function curl(...more: readonly string[]): string[] {
  return ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", TIME_OUT_SECONDS, ...more];
}

/** The world by an address, so that a missing DNS answer cannot hide an open path. */
export const WORLD_ADDRESS = "198.51.100.10";

export const PROBES: readonly Probe[] = [
  {
    name: "dns",
    heading: "frontend: DNS",
    from: { namespace: "demo", app: "frontend" },
    command: ["dig", "+short", "+time=1", "+tries=1", "backend.demo.svc.cluster.local"],
  },
  { name: "get", heading: "frontend: GET /get", from: { namespace: "demo", app: "frontend" }, command: curl("http://backend/get") },
  {
    name: "post",
    heading: "frontend: POST /post",
    from: { namespace: "demo", app: "frontend" },
    command: curl("-d", "hello=1", "http://backend/post"),
  },
  {
    name: "attacker",
    heading: "attacker: GET /get",
    from: { namespace: "attacker", app: "attacker" },
    command: curl("http://backend.demo/get"),
  },
  { name: "world", heading: "backend: world", from: { namespace: "demo", app: "backend" }, command: curl(`http://${WORLD_ADDRESS}/`) },
];

/** What an ended probe saw, from its exit code and output. */
export function judge(probe: Probe, exitCode: number, stdout: string): Seen {
  if (probe.name === "dns") {
    if (exitCode === 0 && /^\d+(\.\d+){3}$/m.test(stdout)) return "resolved";
    return exitCode === 9 ? "dropped" : `status ${exitCode}`;
  }
  if (exitCode === 0) return stdout.trim();
  return exitCode === 28 ? "dropped" : `curl ${exitCode}`;
}
