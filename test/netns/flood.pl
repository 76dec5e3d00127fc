# Many datagrams of one connection, as fast as they go: `perl flood.pl ADDRESS PORT COUNT`.
use strict;
use warnings;
use Socket qw(:all);

my ($address, $port, $count) = @ARGV;
socket(my $socket, AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
connect($socket, pack_sockaddr_in($port, inet_pton(AF_INET, $address))) or die "connect: $!";
for (1 .. $count) {
    send($socket, 'x', 0) or die "send: $!";
}
