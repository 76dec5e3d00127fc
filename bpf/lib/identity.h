/* SPDX-License-Identifier: Apache-2.0 */
/* Numeric security identities known to the datapath. */
#pragma once

enum reserved_identity {
	IDENTITY_UNKNOWN = 0,
	IDENTITY_HOST = 1,
	IDENTITY_WORLD = 2,
	IDENTITY_UNMANAGED = 3,
	IDENTITY_HEALTH = 4,
	IDENTITY_INIT = 5,
	IDENTITY_REMOTE_NODE = 6,
	IDENTITY_KUBE_APISERVER = 7,
	IDENTITY_INGRESS = 8,
	IDENTITY_WORLD_IPV4 = 9,
	IDENTITY_WORLD_IPV6 = 10,
};

/* The top byte of an identity of this node for addresses outside (CIDR, FQDN). */
#define IDENTITY_SCOPE_CIDR 1
