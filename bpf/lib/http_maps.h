/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP policy decided at the sockets of servers: what the agent writes, and what is remembered of a connection. */
#pragma once

#include "http_ports.h"

#define HTTP_METHOD_MAX 16 /* longest method a rule can name */
#define HTTP_PATH_MAX 232  /* bytes of a path that are compared */
#define HTTP_HOST_MAX 64   /* bytes of a Host header that are reported */

/*
 * What of a request a rule is compared with: the method, filled up with zeros (all zeros: any), and the beginning of "path?query" with the
 * blank behind it, so that a rule for one path ends in a blank and a rule for all paths that begin so does not.
 */
struct http_path_key {
	__u32 prefixlen;
	__u32 set;
	__u8 method[HTTP_METHOD_MAX];
	__u8 path[HTTP_PATH_MAX];
};

#define HTTP_PATH_FIXED 20 /* bytes of set and method, which match in full */

_Static_assert(sizeof(struct http_path_key) == 256, "http_path_key is a trie key: the kernel takes 256 bytes behind the length at most");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct http_path_key);
	__type(value, __u32);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_http_paths SEC(".maps");

/* Where in its requests a connection is. */
enum http_phase {
	HTTP_START,
	HTTP_METHOD,
	HTTP_TARGET,
	HTTP_VERSION,
	HTTP_NAME,
	HTTP_VALUE,
	HTTP_VALUE_LF,
	HTTP_HEAD_LF,
	HTTP_CHUNK_SIZE,
	HTTP_CHUNK_SIZE_LF,
	HTTP_CHUNK_END,
	HTTP_CHUNK_END_LF,
	HTTP_LAST_CR,
	HTTP_LAST_LF,
	HTTP_BODY,       /* `left` bytes of it are still to come */
	HTTP_CHUNK_DATA, /* the same */
	HTTP_OVER,       /* nothing more is taken from the client */
};

enum http_socket_flags {
	HTTP_F_HTTP10 = 1,
	HTTP_F_HOST = 2,
	HTTP_F_LENGTH = 4,
	HTTP_F_CHUNKED = 8,
	HTTP_F_CLOSE = 16,
	HTTP_F_KEEP_ALIVE = 32,
	HTTP_F_EXPECT = 64,
	HTTP_F_DENIED = 128,      /* this request is kept from the server */
	HTTP_F_ALLOWED = 256,     /* this request goes to the server */
	HTTP_F_PENDING = 512,     /* the server has been asked, and may not have answered in full */
	HTTP_F_BUSY = 1024,       /* that was so when this request began: nothing can be said to the client */
	HTTP_F_SUSPICIOUS = 2048, /* servers may read this path differently */
	HTTP_F_NUL = 4096,        /* an escaped NUL in the target */
	HTTP_F_QUERY = 8192,
};

/* The beginning of a name or value, lower case, eight characters a word. */
struct http_text {
	__u64 first;
	__u64 second;
	__u64 third;
};

/* One accepted socket of a server, and the request that is being read. */
struct http_socket {
	struct addr16 client;
	struct addr16 server;
	__be16 client_port;
	__be16 server_port;
	__u32 client_id;
	__u32 server_id;
	__u32 lxc_id;
	__u32 flags;        /* enum http_socket_flags */
	__u32 phase;        /* enum http_phase */
	__u32 head_bytes;   /* of this request's head so far */
	__u32 drained;      /* bytes of this denied request's body so far */
	__u32 written;      /* the server's next sequence number when it was given its last request */
	__u32 said_until;   /* the server's next sequence number when all is sent that the kernel has said */
	__u32 answer_at;    /* sequence number of the answer that is awaited */
	__u32 admitted;     /* sequence number behind what was let in before the server had accepted */
	__u64 left;         /* of the body, or of the chunk */
	__u64 length;       /* Content-Length, or the chunk's size as read so far */
	struct http_text name;  /* of the header in hand */
	struct http_text value; /* its value */
	__u32 name_length;
	__u32 value_length;
	__u16 method_length;
	__u16 path_length;  /* at most HTTP_PATH_MAX */
	__u16 version_at;
	__u16 headers;
	__u8 digits;
	__u8 blank;         /* in a value, behind something else */
	__u8 host;          /* part of the Host header */
	__u8 percent;       /* digits of an escape in the target that are awaited */
	__u8 escape;
	__u8 last;          /* byte of the target */
	__u8 before_last;
	__u8 accepted; /* the server has it in hand */
	__u8 kept_out; /* what comes can no longer be judged before it is read */
	__u8 untold;   /* the allowed request in hand is still to be reported */
	__u8 awaited;  /* the answer to the request that was reported is, too */
	__u8 said;     /* said_until holds */
	__u16 host_length;
	__u16 pad;
	__u32 reported;     /* seconds of the monotonic clock of the last event of an allowed request */
	__u64 asked_at;     /* boottime, nanoseconds */
	__u8 host_text[HTTP_HOST_MAX];
	struct http_path_key key;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u64);
	__type(value, struct http_socket);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_http_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__type(key, __u64);
	__type(value, __u64);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_http_sockets SEC(".maps");

/* What the kernel itself says. */
enum http_answer {
	HTTP_FORBIDDEN = 0,
	HTTP_FORBIDDEN_CLOSE,
	HTTP_BAD_REQUEST,
	HTTP_TOO_LARGE,
	HTTP_VERSION_REFUSED,
	HTTP_MISDIRECTED, /* not decidable here: the client's next connection is the proxy's */
	HTTP_ANSWERS,
};

#define HTTP_ANSWER_MAX 256
#define HTTP_WORDINGS 3

/* The first `split` bytes end where blanks may be put in (behind a header's value); the last `body` bytes are not for HEAD. */
struct http_answer_text {
	__u16 split;
	__u16 length;
	__u16 body;
	__u16 status;
	__u8 text[HTTP_ANSWER_MAX];
};

_Static_assert(sizeof(struct http_answer_text) == 8 + HTTP_ANSWER_MAX, "http_answer_text is a map value");

/* Of each answer HTTP_WORDINGS, the longest first: at answer * HTTP_WORDINGS. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct http_answer_text);
	__uint(max_entries, HTTP_ANSWERS * HTTP_WORDINGS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_http_answers SEC(".maps");
