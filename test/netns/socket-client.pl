# A client whose socket calls the tests watch: `perl socket-client.pl MODE ADDRESS PORT [TIMES]`. Modes: tcp, udp (connected), udp-unconnected,
# bind (takes the TCP port).
# Prints a line a time: the answer, the address it believes to talk to, and its own family. Errors are printed, not died of.
use strict;
use warnings;
use Socket qw(:all);

my ($mode, $address, $port, $times) = @ARGV;
my $ipv6 = $address =~ /:/;
my $family = $ipv6 ? AF_INET6 : AF_INET;
my $to = $ipv6 ? pack_sockaddr_in6($port, inet_pton($family, $address)) : pack_sockaddr_in($port, inet_pton($family, $address));

sub text {
    my ($its_port, $ip) = $ipv6 ? unpack_sockaddr_in6($_[0]) : unpack_sockaddr_in($_[0]);
    return inet_ntop($family, $ip) . ' ' . $its_port;
}

sub one {
    my $stream = $mode eq 'tcp' || $mode eq 'bind';
    socket(my $socket, $family, $stream ? SOCK_STREAM : SOCK_DGRAM, 0) or return "error: $!";
    setsockopt($socket, SOL_SOCKET, SO_RCVTIMEO, pack('l!l!', 1, 0));
    if ($mode eq 'bind') {
        setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1);
        return bind($socket, $to) ? 'bound' : "error: $!";
    }
    my $peer;
    if ($mode eq 'udp-unconnected') {
        send($socket, 'hello', 0, $to) or return "error: $!";
        $peer = recv($socket, my $answer, 1500, 0);
        return defined $peer ? "$answer from " . text($peer) : "error: $!";
    }
    connect($socket, $to) or return "error: $!";
    send($socket, 'hello', 0) or return "error: $!";
    defined recv($socket, my $answer, 1500, 0) or return "error: $!";
    return "$answer from " . text(getpeername($socket));
}

print one(), "\n" for 1 .. ($times // 1);
