import { createServer } from "node:net";
import type { Loopback } from "./loopback.ts";

/** A port whose every connection goes through the proxy, for clients that dial by themselves. */
export async function openDoor(proxy: Loopback): Promise<{ readonly port: number } & AsyncDisposable> {
  const server = createServer({ allowHalfOpen: true }, async (outside) => {
    outside.on("error", () => undefined);
    outside.pause();
    const inside = await proxy.open();
    outside.on("close", () => inside.destroy());
    // What it has said before is still to arrive.
    inside.on("close", () => outside.destroySoon());
    outside.pipe(inside).pipe(outside);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}
