/** The ports that the container declares, from the variable that the lab sets. */
export function declaredPorts(): number[] {
  return (process.env.CILIA_PORTS ?? "").split(",").filter(Boolean).map(Number);
}

/** A server stops at SIGTERM without waiting for its connections. */
export function stopOnSignal(): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => process.exit(0));
}
