/**
 * Clients that set this request header get `cilia.Explanation` in `Flow.extensions`. Others must not: protobuf-JSON of a client
 * that does not know the type fails on it.
 */
export const EXPLAIN_HEADER = "cilia-explain";
