# Sends one ICMP echo request and waits a second for its answer: `perl ping.pl ADDRESS`. The machines these tests run on need not have ping.
use strict;
use warnings;
use Socket qw(:all);

my $address = shift;
my $ipv6 = $address =~ /:/;
my ($request, $reply, $protocol) = $ipv6 ? (128, 129, 58) : (8, 0, 1);
my $id = $$ & 0xffff;
my $message = pack('CCnnn', $request, 0, 0, $id, 1) . 'x' x 32;
unless ($ipv6) {
    my $sum = unpack('%32n*', $message);
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    substr($message, 2, 2) = pack('n', ~$sum & 0xffff);
}
socket(my $socket, $ipv6 ? AF_INET6 : AF_INET, SOCK_RAW, $protocol) or die "socket: $!";
my $to = $ipv6 ? pack_sockaddr_in6(0, inet_pton(AF_INET6, $address)) : pack_sockaddr_in(0, inet_pton(AF_INET, $address));
send($socket, $message, 0, $to) or die "send: $!";
while (1) {
    my $readable = '';
    vec($readable, fileno($socket), 1) = 1;
    exit 1 unless select($readable, undef, undef, 1);
    recv($socket, my $answer, 1500, 0);
    $answer = substr($answer, (ord($answer) & 15) * 4) unless $ipv6;
    my ($type, $code, $sum, $its) = unpack('CCnn', $answer);
    exit 0 if $type == $reply && $its == $id;
}
