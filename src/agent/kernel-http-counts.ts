import { HttpCount } from "#datapath/gen/enums.ts";
import type { HttpMaps } from "#datapath/loader.ts";

/** What the kernel has decided by itself since the maps were made: they outlive the agent. */
export interface HttpCounts {
  /** Connections whose requests the kernel decides; of them, those that are open, and those that it ended. */
  readonly taken: number;
  readonly active: number;
  /** Ended because of what was no proper HTTP. */
  readonly refused: number;
  /** Ended because the kernel could not decide: the client's next connection is the proxy's. */
  readonly handedOver: number;
  /** Of the refused and the handed over, those whose client could only be reset. */
  readonly cut: number;
  /** Requests. */
  readonly forwarded: number;
  readonly denied: number;
}

/** Adds up what the processors have counted. Throws `KernelError`. */
export function readHttpCounts({ httpCounts }: Pick<HttpMaps, "httpCounts">): HttpCounts {
  const of = (what: number) => Number((httpCounts.get(what) ?? []).reduce((sum, count) => sum + count, 0n));
  const taken = of(HttpCount.TAKEN);
  return {
    taken,
    active: Math.max(0, taken - of(HttpCount.ENDED)),
    refused: of(HttpCount.REFUSED),
    handedOver: of(HttpCount.HANDED_OVER),
    cut: of(HttpCount.CUT),
    forwarded: of(HttpCount.FORWARDED),
    denied: of(HttpCount.DENIED),
  };
}

/** Ports of endpoints whose rules the kernel has. */
export function httpPorts({ httpRules }: Pick<HttpMaps, "httpRules">): number {
  return new Set([...httpRules.keys()].map(({ lxcId, port }) => `${lxcId} ${port}`)).size;
}

/** The part of the agent's status about HTTP that is decided in the kernel; undefined maps: the proxy decides everything. */
export function kernelHttpStatus({ httpMaps }: { readonly httpMaps: HttpMaps | undefined }): unknown {
  if (httpMaps === undefined) return { state: "Disabled" };
  const { taken, active, refused, handedOver, cut, forwarded, denied } = readHttpCounts(httpMaps);
  return {
    state: "Ok",
    ports: httpPorts(httpMaps),
    connections: { active, taken, refused, "handed-to-proxy": handedOver, cut },
    requests: { forwarded, denied },
  };
}
