#!/usr/bin/perl
# splice-server.pl PORT LOWAT WHERE: accepts one connection after the other and prints what splice(2) takes out of its socket's queue, as "got N".
# WHERE: it sets SO_RCVLOWAT to LOWAT on its listener ("listener"), on accepted sockets ("late"), not at all ("never"), and then accepts when there
# is a line on its input ("told"). Says "ready" and "accepted".
use strict;
use warnings;
use Socket;

my ($port, $lowat, $where) = @ARGV;
my %SPLICE = (x86_64 => 275, aarch64 => 76);
chomp(my $machine = `uname -m`);
my $number = $SPLICE{$machine} or die "no number of splice(2) for $machine\n";
$| = 1;
socket(my $listener, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
setsockopt($listener, SOL_SOCKET, SO_REUSEADDR, 1) or die "SO_REUSEADDR: $!";
my $waits = sub { setsockopt($_[0], SOL_SOCKET, SO_RCVLOWAT, $lowat) or die "SO_RCVLOWAT: $!" };
$waits->($listener) if $where eq "listener";
bind($listener, pack_sockaddr_in($port, INADDR_ANY)) or die "bind: $!";
listen($listener, 16) or die "listen: $!";
print "ready\n";
while (($where ne "told" or defined <STDIN>) and accept(my $socket, $listener)) {
    $waits->($socket) if $where eq "late";
    print "accepted\n";
    pipe(my $out, my $in) or die "pipe: $!";
    for (;;) {
        # Blocks until there is something, or the end.
        my $got = syscall($number, fileno($socket), 0, fileno($in), 0, 65536, 0);
        print "got $got\n";
        last if $got <= 0;
        sysread($out, my $bytes, $got);
    }
    close($socket);
}
