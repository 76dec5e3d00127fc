import type { Server } from "node:http";

/** The ports that the container declares, from the variable that the lab sets. */
export function declaredPorts(): number[] {
  return (process.env.CILIA_PORTS ?? "").split(",").filter(Boolean).map(Number);
}

/** A server that ends as nginx does when it is told to quit: it takes no new connections and finishes those it has. */
export function finishOnSignal(server: Server): void {
  for (const signal of ["SIGTERM", "SIGQUIT", "SIGINT"] as const) process.on(signal, () => server.close(() => process.exit(0)));
}

/** A server stops at SIGTERM without waiting for its connections. */
export function stopOnSignal(): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => process.exit(0));
}
