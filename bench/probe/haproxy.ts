/** What HAProxy's configurations begin with: one thread, as our proxy has, and connections to servers kept. */
export const HAPROXY_DEFAULTS = `
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  http-reuse always
  timeout client 30s
  timeout server 30s
  timeout connect 5s
`;
