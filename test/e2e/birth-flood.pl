# Both sides of the flood at pods that are being born. Runs inside pods:
#
#   birth-flood.pl flood PREFIX FLOOD_PORT LISTEN_PORT RATE
#       sends RATE datagrams a second, for ever, to FLOOD_PORT of PREFIX.1 … PREFIX.254 in turn; prints what it hears, a line
#       `heard TEXT` for each text that it has not heard before
#   birth-flood.pl newborn NAME FLOOD_PORT LISTEN_PORT SECONDS FLOODER...
#       sends NAME to LISTEN_PORT of the flooders at once and every 20 ms, for SECONDS; prints how many datagrams this
#       namespace got since it was made, before there was a listener too, and exits with 0 when there was none, else with 3
use strict;
use warnings;
use Socket qw(:all);
use Time::HiRes qw(time sleep);

my $role = shift;
$| = 1;

sub udp_socket {
    my ($port) = @_;
    socket(my $socket, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0) or die "socket: $!";
    bind($socket, pack_sockaddr_in($port, INADDR_ANY)) or die "bind: $!";
    return $socket;
}

sub flood {
    my ($prefix, $flood_port, $listen_port, $rate) = @_;
    my $socket = udp_socket($listen_port);
    my @to = map { pack_sockaddr_in($flood_port, inet_aton("$prefix.$_")) } 1 .. 254;
    my %heard;
    print "flooding\n";
    my ($sent, $before) = (0, time);
    for (;;) {
        # What a slow machine could not send in time is not made up for: listening would wait for it.
        my $due = (time - $before) * $rate;
        $due = @to if $due > @to;
        $before = time;
        # An address that nobody has may be refused; the next one is not.
        for (1 .. $due) { send($socket, 'flood', 0, $to[$sent++ % @to]) }
        while (defined recv($socket, my $text, 1500, 0)) { print "heard $text\n" unless $heard{$text}++ }
        sleep 0.005;
    }
}

# Counted by the namespace's stack from its first moment: for a socket, and for a port where none was.
sub datagrams {
    open(my $file, '<', '/proc/self/net/snmp') or die "snmp: $!";
    my ($names, $values) = grep { /^Udp: / } <$file>;
    my %udp;
    @udp{split ' ', $names} = split ' ', $values;
    return $udp{InDatagrams} + $udp{NoPorts} + $udp{InErrors};
}

sub newborn {
    my ($name, $flood_port, $listen_port, $seconds, @flooders) = @_;
    my $socket = udp_socket($flood_port);
    my @to = map { pack_sockaddr_in($listen_port, inet_aton($_)) } @flooders;
    my $end = time + $seconds;
    while (time < $end) {
        send($socket, $name, 0, $_) for @to;
        sleep 0.02;
    }
    # The stack counts a datagram for a socket when it is read.
    1 while defined recv($socket, my $text, 1500, 0);
    my $count = datagrams();
    print "$count\n";
    exit($count ? 3 : 0);
}

if ($role eq 'flood') { flood(@ARGV) }
elsif ($role eq 'newborn') { newborn(@ARGV) }
else { die "birth-flood.pl flood|newborn ...\n" }
