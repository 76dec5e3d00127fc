/** Bounds on what one connection may cost. */
export interface HttpLimits {
  /** Bytes of a head, request line and blank line included; more is 431. */
  readonly headBytes: number;
  readonly headerCount: number;
  /** Bytes of one chunk-size line or one trailer section. */
  readonly chunkLineBytes: number;
  readonly trailerBytes: number;
  /** Interim (1xx) responses before a final one. */
  readonly interimResponses: number;
  /** Bytes of a denied request's body that are read and thrown away to keep the connection; more closes it. */
  readonly drainBytes: number;
}

/** Envoy's bounds where it has one (60 KiB, 100 headers). */
export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  headBytes: 60 * 1024,
  headerCount: 100,
  chunkLineBytes: 256,
  trailerBytes: 8 * 1024,
  interimResponses: 32,
  drainBytes: 1024 * 1024,
};

/** Heads up to this many bytes are remembered until the next: connections often repeat theirs. Longer ones are read anew, so that none is kept. */
export const MAX_REPEATED = 2048;

/** So many requests of one client are answered by the proxy itself in one go: it costs the client next to nothing to ask, and there are others. */
export const ANSWERS_AT_ONCE = 16;
