// Whether a network device leaves checksums to the one that takes its packets. Between veths they stay unfinished.
#include "sandbox.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int offload_checksums(const char *device, const char *state)
{
	struct ethtool_value value = {.cmd = ETHTOOL_STXCSUM, .data = !strcmp(state, "on")};
	struct ifreq request = {.ifr_data = (void *)&value};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strncpy(request.ifr_name, device, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &request))
		die("offload checksums of %s %s", device, state);
	close(fd);
	return 0;
}
