// SPDX-License-Identifier: Apache-2.0
/* Never loaded. Names the types that no map mentions, so that this object's BTF carries them to the code generator. */
#include "lib/config.h"
#include "lib/conntrack_maps.h"
#include "lib/drop.h"
#include "lib/endpoint.h"
#include "lib/event_types.h"
#include "lib/http_event_types.h"
#include "lib/http_maps.h"
#include "lib/identity.h"
#include "lib/ipcache.h"
#include "lib/lb_maps.h"
#include "lib/maglev_maps.h"
#include "lib/marks.h"
#include "lib/metrics.h"
#include "lib/nat_maps.h"
#include "lib/policy_maps.h"
#include "lib/usage_maps.h"

struct event type_event;
struct sock_event type_sock_event;
struct http_event type_http_event;
struct lb_maglev_piece type_lb_maglev_piece;
struct policy_key type_policy_key;
struct policy_entry type_policy_entry;

enum direction type_direction;
enum drop_reason type_drop_reason;
enum reserved_identity type_reserved_identity;
enum monitor_aggregation type_monitor_aggregation;
enum endpoint_flags type_endpoint_flags;
enum ipcache_flags type_ipcache_flags;
enum policy_entry_flags type_policy_entry_flags;
enum policy_audit type_policy_audit;
enum usage_outcome type_usage_outcome;
enum ct_http type_ct_http;
enum http_outcome type_http_outcome;
enum http_count type_http_count;
enum http_event_flags type_http_event_flags;
enum http_answer type_http_answer;
enum http_phase type_http_phase;
enum http_rules_flags type_http_rules_flags;
enum http_server type_http_server;
enum ct_key_flags type_ct_key_flags;
enum ct_entry_flags type_ct_entry_flags;
enum event_type type_event_type;
enum observation_point type_observation_point;
enum ct_reason type_ct_reason;
enum policy_match_type type_policy_match_type;
enum event_flags type_event_flags;
enum event_file type_event_file;
enum sock_trace_point type_sock_trace_point;
enum sock_event_flags type_sock_event_flags;
enum lb_scope type_lb_scope;
enum lb_service_flags type_lb_service_flags;
enum lb_backend_state type_lb_backend_state;
enum lb_ct_flags type_lb_ct_flags;
enum nat_direction type_nat_direction;
enum nat_flags type_nat_flags;
enum packet_mark type_packet_mark;

char LICENSE[] SEC("license") = "Dual BSD/GPL";
