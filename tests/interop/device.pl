#!/usr/bin/perl
# A device, written from docs/protocol.md alone, with what Perl and openssl bring. Events go to the
# standard output as lines of JSON; commands come from the standard input as lines of JSON.
#
#     device.pl state=FILE servers=URL,URL [ca=FILE] [key=APP_KEY] [jwt=JWT]
use strict;
use warnings;
use IO::Select;
use IO::Socket::IP;
use IPC::Open2;
use JSON::PP;
use List::Util qw(min max);
use Time::HiRes qw(sleep clock_gettime CLOCK_MONOTONIC);

my ($SUB, $PING, $PUSH, $CONNECT, $CONNECT_ACK, $DISCONNECT, $PUBLISH, $PUB_ACK) = (1, 3, 4, 6 .. 10);
my $HANDSHAKE_SECONDS = 15;
my $STABLE_SECONDS    = 10;
my %STOPS = map { $_ => 1 } qw(taken_over kicked bad_frame frame_too_large);

my $json   = JSON::PP->new->utf8->canonical;
my %option = map { split /=/, $_, 2 } @ARGV;
my @known  = split /,/, $option{servers};
my $state  = -s $option{state} ? $json->decode(slurp($option{state})) : {};
my (%seen, %cursors);    # message ids; positions, which a session without a token keeps itself
my ($failures, $hops, $hold) = (0, 0, 0);
my $commands = '';
$| = 1;
$SIG{$_} = 'IGNORE' for qw(PIPE CHLD);

my @servers = @known;
while (1) {
    @servers = @known unless @servers;
    my ($do, @with) = visit(shift @servers);
    last if $do eq 'stop';
    if ($do eq 'go') {    # a redirect or a drain: to these servers, after a random part of `after`
        my ($urls, $after) = @with;
        @servers = grep { /^tls:/ || $known[0] =~ /^tcp:/ } @$urls;
        sleep rand($after);
        next;
    }
    my $least = $with[0] || 0;    # back off, at least for so long
    sleep $least + rand(min(60, 2**min($failures++, 6)));
}

# One connection, to its end. Returns what comes next: ('go', servers, after), ('wait', after), ('stop').
sub visit {
    my ($url) = @_;
    my $line = connection($url) or return ('wait');
    my ($in, $out) = @$line;
    my $select = IO::Select->new($in, \*STDIN);
    my ($buffer, $next_id, $accepted_at) = ('', 1, undef);
    my ($heartbeat, $sent_at, $pinged_at) = ($HANDSHAKE_SECONDS, now(), undef);
    my $write = sub {
        my ($signal, $sub, $id, $body) = @_;
        my $data = defined $body ? $json->encode($body) : '';
        $sent_at = now();
        syswrite $out, pack('CCCNCn', 0xF8, 2, $signal, length $data, $sub, $id) . $data;
    };
    my $open = sub {
        my %credentials = map { defined $state->{$_} ? ($_ => $state->{$_}) : () } qw(token secret);
        $credentials{jwt} = $option{jwt} if $option{jwt};
        my %reached = $state->{token} ? () : (cursors => {%cursors});
        $write->($CONNECT, 0, $next_id++, { %credentials, %reached, heartbeat => 60 });
    };
    my $ended = sub {
        close $in;
        close $out;
        $failures = 0 if defined $accepted_at && now() - $accepted_at >= $STABLE_SECONDS;
        return @_;
    };

    if   ($state->{token} || !$option{key}) { $open->() }
    else { $write->($SUB, 0, $next_id++, { platform => $^O, app => 'interop', key => $option{key} }) }

    while (1) {
        my $deadline = defined $pinged_at ? $pinged_at + 10 : $sent_at + $heartbeat;
        my @ready    = $select->can_read(max(0, $deadline - now()));
        if (!@ready) {
            return $ended->('wait') if defined $pinged_at || !defined $accepted_at;
            $pinged_at = now();
            $write->($PING, 0, $next_id++);
        }
        for my $handle (@ready) {
            if ($handle == \*STDIN) {
                return $ended->('stop') unless sysread STDIN, $commands, 65536, length $commands;
            }
            elsif (!sysread $in, $buffer, 65536, length $buffer) {
                say_event(lost => $url);
                return $ended->('wait');
            }
            else { $pinged_at = undef }    # whatever comes shows that the connection lives
        }
        while (length $buffer >= 10) {
            my (undef, undef, $signal, $length, $sub, $id) = unpack 'CCCNCn', $buffer;
            last if length $buffer < 10 + $length;
            my $body = $length ? $json->decode(substr $buffer, 10, $length) : {};
            substr($buffer, 0, 10 + $length) = '';

            if ($signal == $SUB) {
                if (defined $body->{ok} && !$body->{ok}) {
                    say_event(unregistered => $body->{code}, body => $body);
                    return $ended->($body->{after} ? ('wait', $body->{after}) : 'stop');
                }
                $state = $body;
                open my $file, '>', $option{state} or die $!;
                print $file $json->encode($state);
                close $file;
                say_event(registered => $body->{token});
                $open->();
            }
            elsif ($signal == $CONNECT_ACK && $sub == 0) {
                ($accepted_at, $hops, $heartbeat) = (now(), 0, $body->{heartbeat});
                @servers = @known;
                $cursors{$_} //= $body->{streams}{$_} for keys %{ $body->{streams} || {} };
                say_event(accepted => $url, body => $body);
            }
            elsif ($signal == $CONNECT_ACK) {
                say_event(refused => $sub, body => $body);
                return $ended->('go', $body->{servers}, $body->{after}) if $sub == 6 && ++$hops <= 3;
                if ($sub == 2 && $option{key}) { $state = {}; return $ended->('wait') }
                return $ended->('wait', $body->{after}) if $sub == 3 || $sub == 6 || ($sub == 5 && $body->{after});
                return $ended->('stop');
            }
            elsif ($signal == $PUSH) {
                next if $hold;
                my $new = !$seen{ $body->{id} }++;
                say_event(message => $body->{data}, body => $body) if $new;
                $write->($PUB_ACK, 0, $id) if $id;
                $cursors{ $body->{stream} } = $body->{offset} if !$state->{token} && $body->{offset};
            }
            elsif ($signal == $PING)    { $heartbeat = $body->{interval}; say_event(pong => $body->{interval}) }
            elsif ($signal == $PUB_ACK) { say_event(answer => $sub, body => $body) }
            elsif ($signal == $DISCONNECT) {
                say_event(ended => $body->{code}, body => $body);
                $failures = 0 if $body->{code} eq 'draining';
                return $ended->('go', $body->{servers}, $body->{after} || 0)
                    if $body->{code} eq 'draining' && @{ $body->{servers} || [] };
                return $ended->('stop') if $STOPS{ $body->{code} } && !$body->{after};
                return $ended->('wait', $body->{after});
            }
        }
        while (defined $accepted_at && $commands =~ s/^(.*)\n//) {
            my $command = $json->decode($1);
            if    ($command->{do} eq 'publish') { $write->($PUBLISH, $command->{sub}, $next_id++, $command->{body}) }
            elsif ($command->{do} eq 'ping')    { $write->($PING, 0, $next_id++, { interval => $command->{interval} }) }
            elsif ($command->{do} eq 'hold')    { $hold = 1; say_event(holding => 1) }
            elsif ($command->{do} eq 'drop')    { $hold = 0; return $ended->('wait') }
            elsif ($command->{do} eq 'bye') {
                $write->($DISCONNECT, 0, 0, { code => 'bye', reason => 'switched off' });
                return $ended->('stop');
            }
        }
    }
}

# Two handles, to read from and to write to; undef when there is no connection. openssl verifies the
# certificate and its name before it passes anything on.
sub connection {
    my ($url) = @_;
    my ($scheme, $host, $port) = $url =~ m{^(tls|tcp)://\[?(.*?)\]?:(\d+)$} or die "$url: no server";
    if ($scheme eq 'tcp') {
        my $socket = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Timeout => 10) or return;
        return [$socket, $socket];
    }
    my $name = $host =~ /^[\d.]+$|:/ ? '-verify_ip' : '-verify_hostname';
    open2(my $in, my $out, qw(openssl s_client -quiet -no_ign_eof -verify_quiet -verify_return_error),
        -CAfile => $option{ca}, $name => $host, -connect => "$host:$port");
    return [$in, $out];
}

sub now { return clock_gettime(CLOCK_MONOTONIC) }

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    local $/;
    return scalar <$file>;
}

sub say_event {
    my ($event, $value, %more) = @_;
    print $json->encode({ event => $event, value => $value, %more }), "\n";
    return;
}
