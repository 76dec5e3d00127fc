import { get } from "node:http";
import { get as getTls } from "node:https";
import { connect as connectTls } from "node:tls";
import type { Container, HTTPGetAction, Probe } from "kubernetes-types/core/v1.js";
import type { NodeHost } from "../node-host.ts";
import { captureIn, type Sandbox } from "../process/sandbox.ts";
import { containerCgroup } from "./container.ts";
import { dial } from "./dial.ts";
import type { Command } from "./environment.ts";

export interface ProbeTarget {
  readonly host: NodeHost;
  readonly container: Container;
  readonly command: Command;
  readonly sandbox: Sandbox;
  readonly podCgroup: string;
  readonly ip: string;
}

export interface ProbeReports {
  started(): void;
  ready(ready: boolean, message: string): void;
  /** The liveness or startup probe failed for good: the container is to be restarted. */
  unhealthy(kind: "Liveness" | "Startup", message: string): void;
  failed(kind: string, message: string): void;
}

type Outcome = { readonly ok: boolean; readonly message: string };

/** Probes a running container until disposed: startup first, then readiness and liveness. Without a probe it is started and ready at once. */
export function startProbes(target: ProbeTarget, reports: ProbeReports): Disposable {
  const { startupProbe, readinessProbe, livenessProbe } = target.container;
  const loops: Disposable[] = [];
  let disposed = false;
  const afterStartup = () => {
    reports.started();
    if (disposed) return;
    if (readinessProbe) loops.push(probeLoop(target, "Readiness", readinessProbe, readinessLoop(readinessProbe, reports)));
    else reports.ready(true, "");
    if (livenessProbe)
      loops.push(
        probeLoop(
          target,
          "Liveness",
          livenessProbe,
          failureLoop("Liveness", livenessProbe, reports, () => undefined),
        ),
      );
  };
  if (startupProbe) loops.push(probeLoop(target, "Startup", startupProbe, failureLoop("Startup", startupProbe, reports, afterStartup)));
  else afterStartup();
  return {
    [Symbol.dispose]() {
      disposed = true;
      for (const loop of loops) loop[Symbol.dispose]();
    },
  };
}

// What to do with each outcome; true ends the loop.
type OnOutcome = (outcome: Outcome) => boolean;

function readinessLoop(probe: Probe, reports: ProbeReports): OnOutcome {
  let successes = 0;
  let failures = 0;
  return ({ ok, message }) => {
    successes = ok ? successes + 1 : 0;
    failures = ok ? 0 : failures + 1;
    if (!ok) reports.failed("Readiness", message);
    if (successes >= (probe.successThreshold ?? 1)) reports.ready(true, "");
    if (failures >= (probe.failureThreshold ?? 3)) reports.ready(false, message);
    return false;
  };
}

function failureLoop(kind: "Liveness" | "Startup", probe: Probe, reports: ProbeReports, onSuccess: () => void): OnOutcome {
  let failures = 0;
  return ({ ok, message }) => {
    failures = ok ? 0 : failures + 1;
    if (ok) {
      onSuccess();
      return kind === "Startup";
    }
    reports.failed(kind, message);
    if (failures < (probe.failureThreshold ?? 3)) return false;
    reports.unhealthy(kind, message);
    return true;
  };
}

// A server is ready well within a second; the first probes of a start come sooner than the period says.
const EAGER_MS = 100;
const EAGER_PROBES = 50;

function probeLoop(target: ProbeTarget, kind: string, probe: Probe, onOutcome: OnOutcome): Disposable {
  const period = (probe.periodSeconds ?? 10) * 1000;
  let count = 0;
  let succeeded = false;
  let timer: NodeJS.Timeout;
  let disposed = false;
  const eager = () => kind !== "Liveness" && !succeeded && count < EAGER_PROBES;
  const next = (wait: number) => {
    timer = setTimeout(() => void turn(), wait);
  };
  const turn = async () => {
    const outcome = await probeOnce(target, probe).catch((thrown: unknown) => ({ ok: false, message: String(thrown) }));
    if (disposed) return;
    count++;
    succeeded ||= outcome.ok;
    // Early failures are a server that starts, and do not count.
    const counts = outcome.ok || !eager();
    if (counts && onOutcome(outcome)) return;
    next(eager() ? EAGER_MS : period);
  };
  next((probe.initialDelaySeconds ?? 0) * 1000 || 1);
  return {
    [Symbol.dispose]() {
      disposed = true;
      clearTimeout(timer);
    },
  };
}

async function probeOnce(target: ProbeTarget, probe: Probe): Promise<Outcome> {
  const timeout = (probe.timeoutSeconds ?? 1) * 1000;
  if (probe.exec) return probeExec(target, probe.exec.command ?? [], timeout);
  if (probe.httpGet) return probeHttp(target, probe.httpGet, timeout);
  if (probe.tcpSocket)
    return probeTcp(target, probe.tcpSocket.host ?? target.ip, portNumber(target.container, probe.tcpSocket.port), timeout);
  if (probe.grpc) return probeTcp(target, target.ip, probe.grpc.port, timeout);
  return { ok: true, message: "" };
}

function portNumber(container: Container, port: number | string): number {
  if (typeof port === "number") return port;
  return container.ports?.find((one) => one.name === port)?.containerPort ?? Number(port);
}

async function probeExec(
  { sandbox, podCgroup, container, command }: ProbeTarget,
  words: readonly string[],
  timeout: number,
): Promise<Outcome> {
  const cgroup = containerCgroup(podCgroup, container.name);
  const options = { sandbox, cgroup, env: command.env, directory: command.directory };
  const { code, stdout, stderr } = await captureIn(options, ["timeout", "-s", "KILL", String(timeout / 1000), ...words]);
  return { ok: code === 0, message: (stdout + stderr).trim().slice(0, 200) };
}

function probeHttp(target: ProbeTarget, action: HTTPGetAction, timeout: number): Promise<Outcome> {
  const secure = action.scheme === "HTTPS";
  const headers = Object.fromEntries((action.httpHeaders ?? []).map(({ name, value }) => [name, value]));
  const host = action.host ?? target.ip;
  const port = portNumber(target.container, action.port);
  const options = {
    host,
    port,
    path: action.path ?? "/",
    headers: { "user-agent": "kube-probe/1.33", ...headers },
    timeout,
    // From the node, so that the kubelet's probes have the node's identity.
    createConnection: () =>
      secure ? connectTls({ socket: dial(target.host.netns, host, port), rejectUnauthorized: false }) : dial(target.host.netns, host, port),
    rejectUnauthorized: false,
  };
  return new Promise((resolve) => {
    const request = (secure ? getTls : get)(options);
    request.on("response", (response) => {
      response.resume();
      const status = response.statusCode ?? 0;
      const ok = status >= 200 && status < 400;
      resolve({ ok, message: ok ? "" : `HTTP probe failed with statuscode: ${status}` });
    });
    request.on("timeout", () => request.destroy(new Error("timeout")));
    request.on("error", (error) =>
      resolve({
        ok: false,
        message: `Get "${action.scheme ?? "HTTP"}://${host}:${port}${options.path}": ${error.message}`,
      }),
    );
  });
}

function probeTcp(target: ProbeTarget, host: string, port: number, timeout: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = dial(target.host.netns, host, port).setTimeout(timeout);
    const finish = (ok: boolean, message: string) => {
      socket.destroy();
      resolve({ ok, message });
    };
    socket.on("connect", () => finish(true, ""));
    socket.on("timeout", () => finish(false, `dial tcp ${host}:${port}: i/o timeout`));
    socket.on("error", (error) => finish(false, `dial tcp ${host}:${port}: ${error.message}`));
  });
}
