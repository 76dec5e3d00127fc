# Makes the device compute checksums before it sends, as a network card does: `perl whole-checksums.pl DEVICE`. Between veths they stay unfinished
# otherwise, which no driver's program can repair.
use strict;
use warnings;
use Socket;

my ($SIOCETHTOOL, $ETHTOOL_STXCSUM) = (0x8946, 0x17);
socket(my $socket, AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
my $off = pack('LL', $ETHTOOL_STXCSUM, 0);
my $request = pack('a16 P', $ARGV[0], $off);
ioctl($socket, $SIOCETHTOOL, $request) or die "SIOCETHTOOL $ARGV[0]: $!";
