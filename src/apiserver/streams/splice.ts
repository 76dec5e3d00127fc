import type { Duplex } from "node:stream";
import { finished } from "node:stream/promises";

/**
 * Joins a client and a connection in a pod until the pod has said everything (or the client is gone). Either side may end
 * its half first; how a connection ends after it was made is nobody's error. Never rejects.
 */
export async function splice(client: Duplex, pod: Duplex): Promise<void> {
  pod.on("error", () => pod.destroy());
  client.on("error", () => client.destroy());
  client.pipe(pod);
  pod.pipe(client);
  const quiet = () => undefined;
  const podDone = finished(pod, { writable: false }).then(() => finished(client, { readable: false }));
  await Promise.race([podDone.catch(quiet), finished(client).catch(quiet)]);
  pod.destroy();
  client.destroy();
}
