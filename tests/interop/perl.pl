# Perl's RPC::XML calls every method of a node, and compares results and types exactly.
#
# Arguments: the ports of three lab nodes, the port of a node with credentials, and the secret that alice has there.
# Needs RPC::XML (Debian: librpc-xml-perl). Prints a line for each thing that was checked; ends with 0 if all was as it
# should be.

use strict;
use warnings;
use utf8;
use Encode qw(encode);
use RPC::XML;
use RPC::XML::Client;
use Time::HiRes qw(sleep time);

# Texts are characters here, and UTF-8 on the wire.
$RPC::XML::ENCODING  = 'utf-8';
$RPC::XML::ALLOW_NIL = 1;
binmode STDOUT, ':encoding(UTF-8)';
binmode STDERR, ':encoding(UTF-8)';
$| = 1;

my @ports = @ARGV[0 .. 2];
my ($guarded, $secret) = @ARGV[3, 4];
my @nodes = map { RPC::XML::Client->new("http://127.0.0.1:$_/RPC2") } @ports;
my %called;

sub int_    { RPC::XML::int->new(shift) }
sub i8      { RPC::XML::i8->new(shift) }
sub text    { RPC::XML::string->new(shift) }
sub boolean { RPC::XML::boolean->new(shift) }
sub double  { RPC::XML::double->new(shift) }
sub bytes   { RPC::XML::base64->new(shift) }
sub date    { RPC::XML::datetime_iso8601->new(shift) }
sub array   { RPC::XML::array->new(from => [@_]) }
sub record  { RPC::XML::struct->new({@_}) }

# The answer as it came, with its types.
sub call_on {
    my ($node, $method, @args) = @_;
    $called{$method} = 1;
    my $answer = $nodes[$node]->send_request($method, @args);
    die "$method: $answer\n" unless ref $answer;
    return $answer;
}
sub call { return call_on(0, @_) }

# A value with its types, as a line of text.
sub shown {
    my $value = shift;
    my $type  = $value->type;
    if ($type eq 'array') {
        return '[' . join(', ', map { shown($_) } @$value) . ']';
    }
    if ($type eq 'struct') {
        return '{' . join(', ', map { "'$_': " . shown($value->{$_}) } sort keys %$value) . '}';
    }
    # The two names of 32 bits mean the same, and a date has more than one spelling.
    $type = 'int' if $type eq 'i4';
    my $inner = $value->value;
    $inner =~ s/-//g if $type eq 'dateTime.iso8601';
    return "$type($inner)";
}

sub same {
    my ($found, $wanted, $what) = @_;
    my ($is, $should) = map { ref $_ ? shown($_) : $_ } $found, $wanted;
    die(($what // 'found') . ": $is, not $should\n") if $is ne $should;
    return;
}

sub fault {
    my ($code, $text, $method, @args) = @_;
    my $found = call($method, @args);
    die "$method: no fault, but " . shown($found) . "\n" unless $found->is_fault;
    same($found->{faultCode}, int_($code), "$method: " . $found->string);
    die "$method: '" . $found->string . "' does not say '$text'\n" if index($found->string, $text) < 0;
    return;
}

sub until_so {
    my ($what, $look) = @_;
    my $deadline = time + 60;
    while (time < $deadline) {
        return if $look->();
        sleep 0.005;
    }
    die "waited in vain for $what\n";
}

sub values_ {
    my @values = (
        int_(0), int_(5), int_(-1), int_(2147483647), int_(-2147483648), i8('2147483648'), i8('-9223372036854775808'),
        i8('9223372036854775807'), boolean(1), boolean(0), double(0.5), double(-0.25),
        text(''), text(' '), text('5'), text(q{<&>"']]>}), text("a\tb\nc"), text('Grüße 😀'), text('x' x 10000),
        bytes(join '', map { chr } 0 .. 255), date('20261120T09:44:00'),
        array(), array(array()), array(int_(1), text('two'), array(double(3.5), boolean(1))),
        record(), record(a => int_(1), 'Ü' => record(b => array(record(c => bytes("\0"))))),
    );
    for my $at (0 .. $#values) {
        my ($value, $instance) = ($values[$at], "perl $at");
        my $answer = call('propose', $value, text($instance));
        die shown($answer) . "\n" if $answer->is_fault;
        my $message = (delete $answer->{message})->value;
        die "$message\n" unless $message =~ /^Value '.*' has been updated and committed\.$/s;
        same($answer, record(instance => text($instance), value => $value, outcome => text('yours'),
                ballot => text("1.$ports[0]"), attempts => int_(1)), $instance);
        for my $node (1, 2) {
            my $known;
            until_so($instance, sub { $known = call_on($node, 'decided', text($instance)); $known->{decided}->value });
            same($known->{value}, $value, $instance);
        }
    }
    same(call_on(1, 'propose', text('late'), text('perl 0'))->{outcome}, text("another's"));
    same(call('propose', int_(7), text('perl option'), record(deadline_ms => int_(20000)))->{value}, int_(7));
    same(call('decided', text('perl never')), record(decided => boolean(0)));
    return scalar(@values) . ' values of all types, i8 among them, there and back';
}

sub nil {
    for my $value (RPC::XML::nil->new, array(RPC::XML::nil->new), record(a => RPC::XML::nil->new)) {
        fault(-32602, 'nil', 'propose', $value, text('perl nil'));
    }
    fault(-32602, 'nil', 'validator1.echoStructTest', record(a => RPC::XML::nil->new));
    return 'nil is refused';
}

sub phases {
    my $hand = text('perl hand');
    my ($five, $yes, $no) = (text('5.0'), boolean(1), boolean(0));
    same(call('prepare', $five, $hand), record(promised => $yes, promised_ballot => $five));
    same(call('prepare', record(round => int_(4), node => int_(9)), $hand),
        record(promised => $no, promised_ballot => $five));
    same(call('accept', int_(5), double(1.5), $hand), record(accepted => $yes, promised_ballot => $five));
    same(call('accept', text('4.9'), double(2.5), $hand), record(accepted => $no, promised_ballot => $five));
    same(call('prepare', text('6.0'), $hand), record(promised => $yes, promised_ballot => text('6.0'),
            accepted_ballot => $five, accepted_value => double(1.5)));
    same(call('commit', int_(5), double(1.5), $hand), record(committed => $yes));
    same(call('decided', $hand), record(decided => $yes, value => double(1.5), ballot => $five));
    return 'the phases by hand';
}

sub learning {
    my $generation = call('status')->{generation};
    my @envelope   = (from => int_($ports[1]), generation => $generation);
    my $ask = record(after => int_(0), count => int_(0), digest => int_(0), open => array(text('perl hand')));
    my $learned = call('learn', $ask, record(@envelope, to => int_($ports[0])))->{learned};
    same($learned->{more}, boolean(0));
    my $known = record(instance => text('perl hand'), ballot => text('5.0'), value => double(1.5));
    die shown($learned) . "\n" unless grep { shown($_) eq shown($known) } @{ $learned->{decided} };
    fault(111, 'the message is for', 'learn', $ask, record(@envelope, to => int_($ports[1])));
    return 'learn';
}

sub gates {
    my ($prepare, $other) = (text('prepare'), int_($ports[2]));
    my $held     = sub { record(held     => int_(shift)) };
    my $released = sub { record(released => int_(shift)) };
    my $gate     = sub { record(method => $prepare, to => $other, held => int_(shift)) };
    same(call('lab.gate.list'), array());
    same(call('lab.gate.hold', $prepare, $other), $held->(0));
    same(call('propose', text('past the gate'), text('perl gate'))->{outcome}, text('yours'));
    same(call('lab.gate.wait', $prepare, $other, int_(1), int_(30000)), $held->(1));
    same(call('lab.gate.list'), array($gate->(1)));
    same(call('lab.gate.release', $prepare, $other, int_(1)), $released->(1));
    same(call('lab.gate.list'), array($gate->(0)));
    same(call('lab.gate.release', $prepare, $other), $released->(0));
    same(call('lab.gate.hold', text('commit'), $other, int_(60000)), $held->(0));
    same(call('lab.gate.clear'), $released->(0));
    same(call('lab.gate.list'), array());
    fault(114, 'no member', 'lab.gate.hold', $prepare, int_(1));
    return 'gates';
}

sub links {
    my $other = int_($ports[2]);
    my $healed = sub { record(healed => int_(shift)) };
    same(call('lab.gate.next'), record(held => boolean(0)));
    same(call('lab.link.list'), array());
    same(call('lab.link.cut', $other)->[0]{cut}, boolean(1));
    same(call('lab.link.delay', $other, int_(5), int_(60000))->[0]{delay_ms}, int_(5));
    same(call('lab.link.drop', $other, int_(30))->[0]{drop_percent}, int_(30));
    same(call('lab.link.heal', int_($ports[1])), $healed->(0));
    same(call('lab.link.heal'), $healed->(1));
    same(call('lab.link.list'), array());
    my $trace = call('lab.trace', int_(0), int_(5));
    same($trace->{node}, int_($ports[0]));
    die 'five events' if @{ $trace->{events} } != 5;
    same(call('lab.trace.switch', boolean(1)), record(on => boolean(1)));
    die 'next' if call('lab.trace.clear')->{next}->value < 5;
    fault(150, 'hears itself', 'lab.link.cut', int_($ports[0]));
    return 'links';
}

sub introspection {
    my @names = map { $_->value } @{ call('system.listMethods') };
    same(join(' ', @names), join(' ', sort @names));
    for my $name (@names) {
        my $help = call('system.methodHelp', text($name));
        die "$name\n" unless $help->type eq 'string' && index($help->value, "$name(") == 0;
        for my $row (@{ call('system.methodSignature', text($name)) }) {
            die "$name\n" unless $row->type eq 'array' && @$row && !grep { $_->type ne 'string' } @$row;
        }
    }
    my @row = map { text($_) } qw(struct string string);
    same(call('system.methodSignature', text('propose')),
        array(array(@row[0, 1]), array(@row), array(@row, text('struct'))));
    fault(-32601, "no method 'nothing'", 'system.methodHelp', text('nothing'));
    my $capabilities = call('system.getCapabilities');
    same(join(' ', sort keys %$capabilities), 'faults_interop introspect introspection nil system.multicall xmlrpc');
    same($capabilities->{xmlrpc}, record(specUrl => text('http://www.xmlrpc.com/spec'), specVersion => int_(1)));
    return 'introspection';
}

sub types {
    my $value = shift;
    return join ' ', map { "$_:" . ($value->{$_}->type =~ s/^i4$/int/r) } sort keys %$value;
}

sub about {
    same(types(call('synod.version')), 'process:int protocol:int synod:string');
    my %definite;
    for my $row (@{ call('synod.faults') }) {
        same(types($row), 'code:int definite:boolean meaning:string name:string');
        $definite{ $row->{code}->value } = $row->{definite};
    }
    same($definite{100}, boolean(1));
    same($definite{102}, boolean(0));
    my $status = call('status');
    same($status->{node}, int_($ports[0]));
    same($status->{mode}, text('lab'));
    same(join(' ', map { $_->{node}->value } @{ $status->{members} }), "@ports");
    my ($row, $ballot) = (call('status', text('perl 1'))->{instances}[0], text("1.$ports[0]"));
    same($row, record(instance => text('perl 1'), decided => boolean(1), promised_ballot => $ballot,
            accepted_ballot => $ballot, accepted_value => int_(5), ballot => $ballot, value => int_(5)));
    return 'version, faults, status';
}

sub multicall {
    my $one = sub { record(methodName => text(shift), params => array(@_)) };
    my $answers = call('system.multicall', array(
        (map { $one->('propose', int_($_), text("perl many $_")) } 0 .. 9),
        $one->('nothing'), $one->('decided', text('perl never')), $one->('system.multicall', array()),
        int_(5), record(params => array()), record(methodName => text('decided'), params => int_(5)),
        $one->('propose'),
    ));
    same($answers->[$_][0]{value}, int_($_)) for 0 .. 9;
    same($answers->[11], array(record(decided => boolean(0))));
    my %codes = (10 => -32601, 12 => -32603, 13 => -32600, 14 => -32601, 15 => -32600, 16 => -32602);
    for my $at (sort keys %codes) {
        same($answers->[$at]{faultCode}, int_($codes{$at}), "item $at");
        same(types($answers->[$at]), 'faultCode:int faultString:string');
    }
    same(call('system.multicall', array()), array());
    fault(-32602, 'more than 1000', 'system.multicall', array(map { $one->('synod.version') } 0 .. 1000));
    return 'multicall';
}

sub validator1 {
    my $stooges = record(moe => int_(1), larry => int_(2), curly => int_(-9));
    same(call('validator1.arrayOfStructsTest', array($stooges, $stooges)), int_(-18));
    same(call('validator1.countTheEntities', text(q{<<>&&&'"""" ü})), record(ctLeftAngleBrackets => int_(2),
            ctRightAngleBrackets => int_(1), ctAmpersands => int_(3), ctApostrophes => int_(1), ctQuotes => int_(4)));
    same(call('validator1.easyStructTest', $stooges), int_(-6));
    my $nested = record(a => record(b => array(int_(1), text('2'), boolean(0), record(c => text('Ü')))));
    same(call('validator1.echoStructTest', $nested), $nested);
    my @many = (i8('9223372036854775807'), boolean(1), text(''), double(0.5), date('19980717T14:08:55'), bytes("\0x"));
    same(call('validator1.manyTypesTest', @many), array(@many));
    my @words = map { text($_) } 'Wed', ('x') x 150, 'nesday';
    same(call('validator1.moderateSizeArrayCheck', array(@words)), text('Wednesday'));
    my $calendar = record('2000' => record('04' => record('01' => $stooges)));
    same(call('validator1.nestedStructTest', $calendar), int_(-6));
    same(call('validator1.simpleStructReturnTest', int_(2147483647)), record(times10 => i8('21474836470'),
            times100 => i8('214748364700'), times1000 => i8('2147483647000')));
    return 'validator1';
}

sub faults {
    my $instance = text('perl fault');
    fault(-32601, "there is no method 'nothing.at.all'", 'nothing.at.all');
    fault(-32602, 'is missing', 'propose');
    fault(-32602, '', 'propose', int_(1), $instance, record(), int_(4));
    fault(-32602, '', 'decided', int_(1));
    fault(-32602, 'is not a ballot', 'prepare', text('five'));
    fault(114, 'deadline_ms is above 60000', 'propose', int_(1), $instance, record(deadline_ms => int_(60001)));
    fault(114, 'the member moe is missing', 'validator1.easyStructTest', record());
    fault(111, 'ignored: ', 'prepare', text("18446744073709551615.$ports[0]"), $instance);
    fault(113, 'larger than 1048576 bytes', 'propose', text('x' x 1048576), $instance);
    same(call('decided', $instance), record(decided => boolean(0)));
    delete $called{'nothing.at.all'};
    return 'faults with code and text';
}

sub credentials {
    for my $who ('', 'alice:wrong@', "bob:$secret\@") {
        my $answer = RPC::XML::Client->new("http://${who}127.0.0.1:$guarded/RPC2")->send_request('status');
        die "not refused: '$who'\n" if ref $answer;
        die "$answer\n" unless $answer =~ /Unauthorized/;
    }
    my $alice = RPC::XML::Client->new("http://alice:$secret\@127.0.0.1:$guarded/RPC2");
    my $answer = $alice->send_request('propose', text('by alice'), text('perl'));
    die "$answer\n" unless ref $answer;
    same($answer->{value}, text('by alice'));
    same($alice->send_request('restart')->{faultCode}, int_(115));
    return 'credentials';
}

# Nodes start unproven: nothing that is agreed upon is served before all have met, and elected.
sub led {
    until_so('a leader', sub {
        my @rows = map { call_on($_, 'bully.status') } 0 .. 2;
        my %leaders = map { ($_->{leader} ? $_->{leader}->value : 'none') => 1 } @rows;
        return 0 if keys %leaders != 1 || $leaders{none} || grep { !$_->{votes}->value } @rows;
        same(types($_), 'applied:int committed:int eligible:boolean epoch:string hears:array leader:int length:int '
                . 'member:boolean snapshot:int state:string state_hash:string votes:boolean waiting:int') for @rows;
        return 1;
    });
    return 'a leader';
}

# A write's answer has its place in the log, and these members; gives all of them.
sub wrote {
    my ($answer, %others) = @_;
    die shown($answer) . "\n" if $answer->is_fault;
    my %place = map { $_ => $answer->{$_} } qw(epoch counter);
    same(types(\%place), 'counter:int epoch:int');
    same($answer, record(%place, %others));
    return (%place, %others);
}

sub put {
    my ($method, @args) = @_;
    my $answer = call($method, @args);
    die shown($answer) . "\n" if $answer->is_fault;
    return wrote($answer, version => int_($answer->{version}->value));
}

# Calls of a batch are all begun before any is waited for.
sub batch {
    my @calls = map { my ($name, @params) = @$_; record(methodName => text($name), params => array(@params)) } @_;
    $called{ $_->[0] } = 1 for @_;
    return map { $_->type eq 'array' ? $_->[0] : $_ } @{ call('system.multicall', array(@calls)) };
}

# Exactly these events are told, on and on from where the last call left off.
sub told {
    my ($events, $since, $method, @args) = @_;
    my @found;
    while (@found < @$events) {
        my $answer = call($method, @args, $since, int_(60000));
        same(types($answer), 'events:array next:int');
        push @found, @{ $answer->{events} };
        $since = $answer->{next};
    }
    same(array(@found), array(@$events), $method);
    return $since;
}

sub keys_ {
    my @values = (
        int_(0), int_(-2147483648), i8('9223372036854775807'), boolean(1), boolean(0), double(0.5), text(''), text(' '),
        text(q{<&>"']]>}), text('Grüße 😀'), text('x' x 10000), bytes(join '', map { chr } 0 .. 255),
        date('20261120T09:44:00'), array(), array(int_(1), text('two'), array(double(3.5), boolean(1))), record(),
        record(a => int_(1), 'Ü' => record(b => array(record(c => bytes("\0"))))),
    );
    my @rows;
    for my $at (0 .. $#values) {
        my $key = text(sprintf 'perl v/%02d', $at);
        my %put = put('kv.put', $key, $values[$at]);
        for my $node (0 .. 2) {
            same(call_on($node, 'kv.get', $key), record(%put, found => boolean(1), value => $values[$at]), $key->value);
        }
        push @rows, record(key => $key, value => $values[$at], version => $put{version});
    }
    my $prefix = text('perl v/');
    same(call('kv.list', $prefix), record(entries => array(@rows), more => boolean(0)));
    same(call('kv.list', $prefix, record(after => text('perl v/02'), limit => int_(2))),
        record(entries => array(@rows[3, 4]), more => boolean(1)));
    fault(-32602, 'nil', 'kv.put', text('perl nil'), RPC::XML::nil->new);
    my $key = text('perl Ü');
    my $version = { put('kv.cas', $key, int_(0), text('one')) }->{version}->value;
    fault(116, "has version $version, not 0", 'kv.cas', $key, int_(0), text('two'));
    same({ put('kv.cas', $key, int_($version), text('two')) }->{version}, int_($version + 1));
    my $near = call('kv.get', $key, record(read => text('local')));
    die shown($near) . "\n" unless $near->{applied}->type =~ /^i/ && $near->{behind}->type =~ /^i/;
    wrote(call('kv.delete', $key), version => int_($version + 1));
    wrote(call('kv.delete', $key));
    same(call('kv.get', $key), record(found => boolean(0)));
    return 'keys: ' . scalar(@values) . ' values of all types, there and back; versions';
}

sub requests {
    my ($key, $once) = (text('perl once'), record(request => text('perl/2')));
    my $first = call('kv.put', $key, int_(1), $once);
    same(call_on(2, 'kv.put', $key, int_(1), $once), $first);
    fault(122, 'perl/2 was another call', 'kv.put', $key, int_(2), $once);
    fault(121, 'comes after perl/2', 'kv.put', $key, int_(1), record(request => text('perl/1')));
    fault(114, 'client/sequence', 'kv.put', $key, int_(1), record(request => text('perl')));
    same(call('synod.outcome', text('perl/2')), record(applied => boolean(1), answer => $first));
    same(call('synod.outcome', text('perl/3')), record(applied => boolean(0), last => int_(2)));
    same(call('synod.outcome', text('perl never/1')), record(applied => boolean(0)));
    same(call('kv.get', $key), record(%$first, found => boolean(1), value => int_(1)));
    return 'request ids: applied once';
}

sub watching {
    my $since = { put('kv.put', text('perl w/other'), int_(0)) }->{counter};
    my $one   = text('perl w/1');
    my ($watched, $put) = batch(['kv.watch', text('perl w/'), $since, int_(60000)], ['kv.put', $one, bytes("\0")]);
    my $event = record(%$put, what => text('put'), key => $one, value => bytes("\0"));
    same($watched->{events}, array($event));
    my $gone = record(%{ call('kv.delete', $one) }, what => text('deleted'), key => $one);
    my $next = told([$event, $gone], $since, 'kv.watch', text('perl w/'));
    my $quiet = call('kv.watch', text('perl w/'), $next, int_(1));
    same($quiet, record(events => array(), next => $quiet->{next}));
    fault(114, 'timeout_ms is above 60000', 'kv.watch', $one, int_(0), int_(60001));
    return 'watches';
}

sub board {
    my $answer = call('board.strong.post', text("first\n<&>"));
    my %first  = wrote($answer, id => int_($answer->{id}->value));
    my ($id, $author) = ($first{id}, int_($ports[0]));
    my $row   = record(%first, text => text("first\n<&>"), author => $author);
    my $after = record(after => text($id->value - 1));
    same(call_on(2, 'board.strong.list', $after), array($row));
    my @events = (record(%$row, what => text('posted')));
    push @events, record(wrote(call('board.strong.modify', $id, text('Ü')), id => $id), what => text('modified'),
        author => $author, text => text('Ü'));
    same(call('board.strong.list', $after)->[0]{text}, text('Ü'));
    push @events, record(wrote(call('board.strong.delete', $id), id => $id), what => text('deleted'), author => $author);
    same(call('board.strong.list', $after), array());
    fault(117, 'no post', 'board.strong.delete', $id);
    told(\@events, int_($first{counter}->value - 1), 'board.strong.watch');
    return 'the board';
}

sub files {
    my $name = text('perl Ü.txt');
    my $say  = sub { (message => text(shift)) };
    my %made = wrote(call('files.create', $name), $say->("CREATED FILE 'perl Ü.txt'"));
    fault(118, "FILE 'perl Ü.txt' ALREADY EXISTS", 'files.create', $name);
    my %one = wrote(call('files.append', $name, text('<x> y')), $say->("WROTE '<x> y' TO FILE 'perl Ü.txt'"));
    my @last = map { $_ => $one{$_} } qw(epoch counter);
    same(call_on(1, 'files.read', $name), record(name => $name, text => text('<x> y'), lines => int_(1), @last));
    my ($row) = grep { $_->{name}->value eq $name->value } @{ call('files.list') };
    same($row, record(name => $name, lines => int_(1), bytes => int_(5), @last));
    my %gone = wrote(call('files.delete', $name), $say->("DELETED FILE 'perl Ü.txt'"));
    fault(117, "FILE 'perl Ü.txt' DOESN'T EXIST", 'files.read', $name);
    my $line = sub { my ($what, %at) = @_; text("$what " . $at{epoch}->value . ' ' . $at{counter}->value) };
    my @lines = ($line->('create perl Ü.txt', %made), $line->('append perl Ü.txt <x> y', %one));
    push @lines, $line->('delete perl Ü.txt', %gone);
    my $found = call('files.history', int_($made{counter}->value - 1));
    same($found, record(lines => array(@lines), next => $found->{next}));
    return 'files';
}

sub locks {
    my ($name, $ann, $bob, $ttl) = (text('perl lock'), text('ann'), text('bob'), int_(60000));
    my $held    = call('lock.acquire', $name, $ann, $ttl);
    my $token   = $held->{token}->value;
    my $granted = sub { record(granted => boolean(1), token => int_(shift)) };
    same($held, $granted->($token));
    same(call('lock.acquire', $name, $bob, $ttl, int_(1)), record(granted => boolean(0)));
    same(call('lock.renew', $name, $ann, int_($token), $ttl), $held);
    fault(120, "'ann' does, with token $token", 'lock.renew', $name, $bob);
    my ($row) = grep { $_->{name}->value eq 'perl lock' } @{ call('lock.list') };
    my $left = $row->{expires_in_ms};
    die shown($row) . "\n" unless $left->type =~ /^i/ && $left->value > 0 && $left->value <= 60000;
    same($row, record(name => $name, owner => $ann, token => int_($token), queue => array(), expires_in_ms => $left));
    my $fence = record(token => int_($token), lock => $name);
    my %put   = put('kv.put', text('perl fenced'), int_(1), $fence);
    my ($next, $let_go) = batch(['lock.acquire', $name, $bob, $ttl, $ttl], ['lock.release', $name, $ann, int_($token)]);
    wrote($let_go, released => boolean(1));
    die shown($next) . "\n" unless $next->{token}->value > $token;
    same($next, $granted->($next->{token}->value));
    fault(119, "token $token does not hold", 'kv.put', text('perl fenced'), int_(2), $fence);
    fault(114, 'kv and files', 'board.strong.post', text('x'), $fence);
    wrote(call('lock.release', $name, $bob), released => boolean(1));
    same(call('kv.get', text('perl fenced')), record(%put, found => boolean(1), value => int_(1)));
    return 'locks, queues and tokens';
}

sub members {
    my @rows = map { record(node => int_($_), address => text("127.0.0.1:$_")) } @ports;
    same(call('cluster.members'), record(members => [@rows], changing => boolean(0)));
    fault(124, 'is a member already', 'cluster.add', int_($ports[1]), text('127.0.0.1:7'));
    fault(114, 'the address is not HOST:PORT', 'cluster.add', int_(7), text('here'));
    fault(125, '7 is no member', 'cluster.remove', int_(7));
    return 'members';
}

sub eventual {
    my $posted = call('board.eventual.post', text("first\n<&>"));
    my ($id, $clock, $author) = ($posted->{id}, $posted->{clock}, int_($ports[0]));
    same($posted, record(id => text($clock->value . ".$ports[0]"), text => text("first\n<&>"), author => $author,
        clock => $clock, server => $author));
    my $since = call('board.eventual.status')->{changes};
    for my $node (0 .. 2) {
        until_so('the post everywhere', sub {
            return grep { $_->{id}->value eq $id->value } @{ call_on($node, 'board.eventual.list') };
        });
    }
    my $changed = call_on(2, 'board.eventual.modify', $id, text('Ü'));
    same($changed->{text}, text('Ü'));
    same($changed->{server}, int_($ports[2]));
    my $watched = call('board.eventual.watch', $since, int_(60000));
    same($watched->{events}, array(record(%$changed, what => text('modified'), counter => int_($since->value + 1))));
    my $gone = call('board.eventual.delete', $id);
    same($gone, record(id => $id, author => $author, clock => $gone->{clock}, server => $author));
    fault(117, 'no entry', 'board.eventual.modify', $id, text('x'));
    return 'the eventual board';
}

sub registers {
    my $name = text('perl Ü');
    same(call('register.read', $name), record(found => boolean(0)));
    for my $value (int_(5), text('Ü'), array(int_(1), text('b')), boolean(1)) {
        my $written = call('register.write', $name, $value);
        same(call_on(2, 'register.read', $name), record(%$written, found => boolean(1), value => $value));
    }
    fault(113, '513 bytes', 'register.write', text('x' x 513), int_(1));
    same(call('register.quorum'), record(read => int_(2), write => int_(2), nodes => int_(3), intersect => boolean(1)));
    return 'quorum registers';
}
# A hash table, flooding and an index: the route is in every answer.
sub overlays {
    for my $overlay (qw(dht flood index)) {
        my $key = text("perl $overlay");
        same(call("$overlay.set", $key, int_(5))->{hops}->[0], int_($ports[0]));
        my $got = call_on(2, "$overlay.get", $key);
        same($got->{found}, boolean(1));
        same($got->{value}, int_(5));
        same($got->{hops}->[0], int_($ports[2]));
        call("$overlay.remove", $key);
        same(call("$overlay.get", $key)->{found}, boolean(0));
        fault(140, 'nothing was changed', "$overlay.remove", $key);
        fault(144, 'at most 512 bytes', "$overlay.get", text('x' x 513));
    }
    call('dht.fingers');
    call('dht.leave');
    same(call('dht.ring')->{state}, text('left'));
    call('dht.join');
    same(call('dht.ring')->{state}, text('joined'));
    return 'overlays';
}

# What nodes say to each other: a client that says it wrongly gets a fault, and changes nothing.
sub messages {
    my @names = map { $_->value } @{ call('system.listMethods') };
    my $envelope = record(from => int_($ports[1]), to => int_($ports[0]), generation => call('status')->{generation});
    for my $name (grep { /^(log|bully|eventual|register)\.|\.message$/ && !/^(bully\.(status|elect)|register\.(read|write|quorum))$/ }
        @names) {
        fault(-32602, 'is missing', $name);
        fault(-32602, 'lacks a member', $name, record(), $envelope) if $name ne 'log.blank';
    }
    die "no status\n" unless call('bully.elect')->{votes}->value;
    led();
    return "the nodes' own messages";
}

sub restarting {
    my $before = call('status')->{generation}->value;
    for my $node (0 .. 2) {
        my $answer = call_on($node, 'restart');
        same(types($answer), 'generation:int message:string');
        die shown($answer) . "\n" unless $answer->{generation}->value > $before;
        same($answer->{message}, text("Node on port $ports[$node] has been restarted."));
    }
    until_so('one generation', sub {
        my %generations = map { call_on($_, 'status')->{generation}->value => 1 } 0 .. 2;
        return keys %generations == 1;
    });
    same(call('decided', text('perl 0')), record(decided => boolean(0)));
    return 'restart';
}

sub everything {
    my @names = map { $_->value } @{ call('system.listMethods') };
    same(join(' ', sort keys %called), "@names", 'the methods that were called');
    return 'all ' . scalar(@names) . ' methods';
}

for my $part (\&values_, \&nil, \&phases, \&learning, \&gates, \&links, \&introspection, \&about, \&multicall,
    \&validator1, \&faults, \&led, \&keys_, \&requests, \&watching, \&board, \&files, \&locks, \&eventual, \&registers,
    \&members, \&overlays, \&messages, \&credentials, \&restarting, \&everything) {
    print $part->() . "\n";
}
