import { fileURLToPath } from "node:url";
import type { Container } from "kubernetes-types/core/v1.js";
import { PROJECT, paths } from "../paths.ts";
import type { Image } from "./image.ts";

const EMULATIONS = fileURLToPath(new URL("bin", import.meta.url));
const DEBIAN = fileURLToPath(new URL("debian", import.meta.url));

/** Where nginx and PostgreSQL come from: emulated by programs of this checkout, or Debian's own. */
export const IMAGE_KINDS = ["emulated", "real"] as const;
export type ImageKind = (typeof IMAGE_KINDS)[number];

/** An image that is a file system and a shell: what the pod gives as arguments is a command. */
const SHELL: Image = { entrypoint: [], args: ["sh"], directory: "/" };

/** An image whose entrypoint runs the arguments if they are a command, and else gives them to its program. */
function entrypoint(program: string): readonly string[] {
  return [`${EMULATIONS}/docker-entrypoint`, program];
}

/** A server, `PROGRAM` of a directory; it listens on what the container declares, else on its usual port. */
function server(program: string, port: number, directory = EMULATIONS): Image {
  return {
    entrypoint: entrypoint(program),
    args: [],
    directory: "/",
    path: directory,
    environmentFor: (container) => ({ CILIA_PORTS: declaredPorts(container).join(",") || String(port), CILIA_NODE: paths.node }),
  };
}

function declaredPorts(container: Container): number[] {
  const ports = (container.ports ?? []).filter(({ protocol = "TCP" }) => protocol === "TCP").map(({ containerPort }) => containerPort);
  return [...new Set(ports)];
}

/** Programs of this checkout. */
function program(...entrypoint: string[]): Image {
  return { entrypoint, args: [], directory: "/", path: `${paths.bin}:${EMULATIONS}`, env: { CILIA_NODE: paths.node, CILIA_HOME: PROJECT } };
}

// By repository, without registry and tag: docker.io/library/nginx:1.27 and nginx are the same.
const IMAGES: ReadonlyMap<string, Image> = new Map([
  ["curlimages/curl", { ...SHELL, entrypoint: entrypoint("curl"), args: ["--help"] }],
  ["cilium/alpine-curl", SHELL],
  ["nicolaka/netshoot", { ...SHELL, args: ["bash"], directory: "/root", env: { PS1: "\\h:\\w# " }, path: EMULATIONS }],
  ["busybox", SHELL],
  ["alpine", SHELL],
  ["debian", { ...SHELL, args: ["bash"] }],
  ["ubuntu", { ...SHELL, args: ["bash"] }],
  ["pause", { ...SHELL, entrypoint: ["sleep", "infinity"], args: [] }],
  ["kennethreitz/httpbin", server("httpbin", 80)],
  ["mccutchen/go-httpbin", server("httpbin", 8080)],
  ["cilium/json-mock", server("httpbin", 8080)],
  ["hashicorp/http-echo", server("httpbin", 5678)],
  ["nginx", server("nginx", 80)],
  ["nginxinc/nginx-unprivileged", server("nginx", 8080)],
  ["httpd", server("nginx", 80)],
  ["postgres", server("postgres", 5432)],
  ["redis", server("redis-server", 6379)],
  ["prom/prometheus", server("prometheus", 9090)],
  ["prometheus/prometheus", server("prometheus", 9090)],
  ["cilium/cilium", program("cilium-agent")],
  ["cilium/cilium-envoy", program("cilium-proxy")],
  ["cilium/operator", program("cilium-operator")],
  ["cilium/operator-generic", program("cilium-operator")],
  ["cilium/hubble-relay", program("hubble-relay")],
  ["cilium/hubble-ui", program("hubble-ui")],
  ["cilium/hubble-ui-backend", program("hubble-ui")],
  ["coredns/coredns", program("coredns")],
  ["coredns", program("coredns")],
]);

const REGISTRY = /^(localhost|[^/]*[.:][^/]*)\//;

const REAL_IMAGES: ReadonlyMap<string, Image> = new Map([
  ["nginx", server("nginx", 80, DEBIAN)],
  ["nginxinc/nginx-unprivileged", server("nginx", 8080, DEBIAN)],
  ["postgres", server("postgres", 5432, DEBIAN)],
]);

/** How the image of this name runs here; undefined when the lab has no such image. */
export function findImage(name: string, kind: ImageKind = "emulated"): Image | undefined {
  const repository = name
    .replace(/@sha256:.*$/, "")
    .replace(/:[^:/]+$/, "")
    .replace(REGISTRY, "")
    .replace(/^library\//, "");
  return (kind === "real" ? REAL_IMAGES.get(repository) : undefined) ?? IMAGES.get(repository);
}

/** The repositories that the lab has, for messages. */
export function imageNames(): string[] {
  return [...IMAGES.keys()];
}
