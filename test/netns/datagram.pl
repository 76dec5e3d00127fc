# Datagrams of one socket, each after the answer to the one before: `perl datagram.pl ADDRESS PORT SIZE[,SIZE...] TTL`.
# Prints for each the number of bytes answered, or the error the network reported.
use strict;
use warnings;
use Socket qw(:all);

my ($address, $port, $sizes, $ttl) = @ARGV;
my $ipv6 = $address =~ /:/;
my $family = $ipv6 ? AF_INET6 : AF_INET;
my ($level, $ttl_option, $errors) = $ipv6 ? (41, 16, 25) : (0, 2, 11);
socket(my $socket, $family, SOCK_DGRAM, 0) or die "socket: $!";
setsockopt($socket, SOL_SOCKET, SO_RCVTIMEO, pack('l!l!', 20, 0));
setsockopt($socket, $level, $ttl_option, pack('i', $ttl));
setsockopt($socket, $level, $errors, pack('i', 1));
connect($socket, $ipv6 ? pack_sockaddr_in6($port, inet_pton($family, $address)) : pack_sockaddr_in($port, inet_pton($family, $address)))
    or die "connect: $!";
for my $size (split /,/, $sizes) {
    my $answer;
    send($socket, 'x' x $size, 0) or die "send: $!";
    print defined recv($socket, $answer, 65535, 0) ? length($answer) . "\n" : "$!\n";
}
