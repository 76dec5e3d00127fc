/* SPDX-License-Identifier: Apache-2.0 */
/* Maglev tables, one a service. Apart from the other service maps because an object that has the map must have a function with a piece in its signature (maglev_entry). */
#pragma once

#include "common.h"

/* A Maglev table in pieces of 4 KiB, so that tables of any size are of one type. The last piece may be partly unused. */
#define LB_MAGLEV_PIECE 1024

struct lb_maglev_piece {
	__u8 bytes[4 * LB_MAGLEV_PIECE]; /* backend ids, 32 bits each, little-endian */
} __attribute__((aligned(4)));

struct lb_maglev_table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct lb_maglev_piece);
	__uint(max_entries, 16);
	__uint(map_flags, BPF_F_INNER_MAP);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__type(key, __u32);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__array(values, struct lb_maglev_table);
} cilium_lb_maglev SEC(".maps");
