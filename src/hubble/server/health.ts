import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { type Health, HealthCheckResponse_ServingStatus as Status } from "#api/gen/grpc/health/v1/health_pb.ts";
import { aborted } from "#runtime/scope.ts";

/** The name under which Hubble's clients ask for the observer's health; it is not the service's own. */
export const OBSERVER_HEALTH = "hubble.server.Observer";

/** gRPC's health service for these services and "" (the server as a whole). `serving` is asked at each call. */
export function healthService(services: readonly string[], serving: () => boolean = () => true): ServiceImpl<typeof Health> {
  const known = new Set(["", ...services]);
  const status = () => ({ status: serving() ? Status.SERVING : Status.NOT_SERVING });
  return {
    check({ service }) {
      if (!known.has(service)) throw new ConnectError(`unknown service ${service}`, Code.NotFound);
      return status();
    },
    async *watch({ service }, context) {
      yield known.has(service) ? status() : { status: Status.SERVICE_UNKNOWN };
      await aborted(context.signal);
    },
  };
}
