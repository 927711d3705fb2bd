<?php
// PHP's xmlrpc extension calls every method of a node, and compares results and types exactly.
//
// Arguments: the ports of three lab nodes, the port of a node with credentials, and the secret that alice has there.
// Needs the extension xmlrpc (Debian: php-xmlrpc). Prints a line for each thing that was checked; ends with 0 if all was
// as it should be.

declare(strict_types=1);
error_reporting(E_ALL);
set_error_handler(static function (int $level, string $text): bool {
    throw new RuntimeException($text);
});

$ports = array_map('intval', array_slice($argv, 1, 3));
[$guarded, $secret] = [(int) $argv[4], $argv[5]];
$called = [];

/** Posts a call; gives the status and the body. */
function post(int $port, string $body, string $headers = ''): array
{
    $options = ['method' => 'POST', 'header' => "Content-Type: text/xml\r\n$headers", 'content' => $body];
    $options += ['ignore_errors' => true, 'timeout' => 80, 'protocol_version' => 1.1];
    $stream = fopen("http://127.0.0.1:$port/RPC2", 'r', false, stream_context_create(['http' => $options]));
    $status = (int) explode(' ', stream_get_meta_data($stream)['wrapper_data'][0])[1];
    return [$status, stream_get_contents($stream)];
}

function encoded(string $method, array $args): string
{
    $options = ['encoding' => 'utf-8', 'escaping' => ['markup'], 'version' => 'xmlrpc'];
    return xmlrpc_encode_request($method, $args, $options);
}

/** Calls a method of a node with bare values, which the extension writes as it sees fit. */
function call_on(int $node, string $method, ...$args)
{
    global $ports, $called;
    $called[$method] = true;
    [$status, $body] = post($ports[$node], encoded($method, $args));
    same($status, 200, $method);
    return xmlrpc_decode($body, 'utf-8');
}

function call(string $method, ...$args)
{
    return call_on(0, $method, ...$args);
}

/** A value with its types, as a text that is equal for equal values only. */
function shown($value): string
{
    if (is_array($value)) {
        $parts = [];
        if (!array_is_list($value)) {
            ksort($value);
        }
        foreach ($value as $key => $item) {
            $parts[] = var_export($key, true) . ' => ' . shown($item);
        }
        return '[' . implode(', ', $parts) . ']';
    }
    if (is_object($value)) {
        return $value->xmlrpc_type . '(' . $value->scalar . ')';
    }
    return get_debug_type($value) . '(' . var_export($value, true) . ')';
}

function same($found, $wanted, string $what = 'found'): void
{
    if (shown($found) !== shown($wanted)) {
        throw new RuntimeException("$what: " . shown($found) . ', not ' . shown($wanted));
    }
}

function fault(int $code, string $text, string $method, ...$args): void
{
    $found = call($method, ...$args);
    if (!is_array($found) || !xmlrpc_is_fault($found)) {
        throw new RuntimeException("$method: no fault, but " . shown($found));
    }
    same($found['faultCode'], $code, "$method: {$found['faultString']}");
    if (!str_contains($found['faultString'], $text)) {
        throw new RuntimeException("$method: '{$found['faultString']}' does not say '$text'");
    }
}

function until(string $what, callable $look)
{
    $deadline = microtime(true) + 60;
    while (microtime(true) < $deadline) {
        if ($found = $look()) {
            return $found;
        }
        usleep(5000);
    }
    throw new RuntimeException("waited in vain for $what");
}

/** A value that the extension is told the type of: base64 or datetime. */
function typed(string $value, string $type)
{
    xmlrpc_set_type($value, $type);
    return $value;
}

$parts = [];

$parts[] = function () use ($ports): string {
    $values = [0, 5, -1, 2147483647, -2147483648, true, false, 0.5, -0.25, '', ' ', '5', '<&>"\']]>', "a\tb\nc"];
    $values = [...$values, 'Grüße 😀', str_repeat('x', 10000), typed(implode(array_map('chr', range(0, 255))), 'base64')];
    $values = [...$values, [], [[]], [1, 'two', [3.5, true]], ['a' => 1, 'Ü' => ['b' => [['c' => 'd']]]]];
    foreach ($values as $at => $value) {
        $instance = "php $at";
        $answer = call('propose', $value, $instance);
        $message = $answer['message'] ?? shown($answer);
        if (!preg_match("/^Value '.*' has been updated and committed\\.$/s", $message)) {
            throw new RuntimeException($message);
        }
        unset($answer['message']);
        $wanted = ['instance' => $instance, 'value' => $value, 'outcome' => 'yours', 'ballot' => "1.{$ports[0]}"];
        same($answer, $wanted + ['attempts' => 1], $instance);
        foreach ([1, 2] as $node) {
            $known = until($instance, function () use ($node, $instance) {
                $answer = call_on($node, 'decided', $instance);
                return $answer['decided'] ? $answer : null;
            });
            same($known['value'], $value, $instance);
        }
    }
    $moment = call('propose', typed('20261120T09:44:00', 'datetime'), 'php moment')['value'];
    same([$moment->xmlrpc_type, $moment->scalar], ['datetime', '20261120T09:44:00']);
    same(call_on(1, 'propose', 'late', 'php 0')['outcome'], "another's");
    same(call('propose', 7, 'php option', ['deadline_ms' => 20000])['value'], 7);
    same(call('decided', 'php never'), ['decided' => false]);
    return count($values) + 1 . ' values of all types, there and back';
};

$parts[] = function (): string {
    $hand = 'php hand';
    same(call('prepare', '5.0', $hand), ['promised' => true, 'promised_ballot' => '5.0']);
    same(call('prepare', ['round' => 4, 'node' => 9], $hand), ['promised' => false, 'promised_ballot' => '5.0']);
    same(call('accept', 5, 1.5, $hand), ['accepted' => true, 'promised_ballot' => '5.0']);
    same(call('accept', '4.9', 2.5, $hand), ['accepted' => false, 'promised_ballot' => '5.0']);
    $wanted = ['promised' => true, 'promised_ballot' => '6.0', 'accepted_ballot' => '5.0', 'accepted_value' => 1.5];
    same(call('prepare', '6.0', $hand), $wanted);
    same(call('commit', 5, 1.5, $hand), ['committed' => true]);
    same(call('decided', $hand), ['decided' => true, 'value' => 1.5, 'ballot' => '5.0']);
    return 'the phases by hand';
};

$parts[] = function () use ($ports): string {
    $envelope = ['from' => $ports[1], 'to' => $ports[0], 'generation' => call('status')['generation']];
    $ask = ['after' => 0, 'count' => 0, 'digest' => 0, 'open' => ['php hand']];
    $learned = call('learn', $ask, $envelope)['learned'];
    same($learned['more'], false);
    $known = array_values(array_filter($learned['decided'], fn ($row) => $row['instance'] === 'php hand'));
    same($known[0], ['instance' => 'php hand', 'ballot' => '5.0', 'value' => 1.5]);
    fault(111, 'the message is for', 'learn', $ask, ['to' => $ports[1]] + $envelope);
    return 'learn';
};

$parts[] = function () use ($ports): string {
    $other = $ports[2];
    same(call('lab.gate.list'), []);
    same(call('lab.gate.hold', 'prepare', $other), ['held' => 0]);
    same(call('propose', 'past the gate', 'php gate')['outcome'], 'yours');
    same(call('lab.gate.wait', 'prepare', $other, 1, 30000), ['held' => 1]);
    same(call('lab.gate.list'), [['method' => 'prepare', 'to' => $other, 'held' => 1]]);
    same(call('lab.gate.release', 'prepare', $other, 1), ['released' => 1]);
    same(call('lab.gate.list'), [['method' => 'prepare', 'to' => $other, 'held' => 0]]);
    same(call('lab.gate.release', 'prepare', $other), ['released' => 0]);
    same(call('lab.gate.hold', 'commit', $other, 60000), ['held' => 0]);
    same(call('lab.gate.clear'), ['released' => 0]);
    same(call('lab.gate.list'), []);
    fault(114, 'no member', 'lab.gate.hold', 'prepare', 1);
    return 'gates';
};

$parts[] = function () use ($ports): string {
    $other = $ports[2];
    same(call('lab.gate.next'), ['held' => false]);
    same(call('lab.link.list'), []);
    same(call('lab.link.cut', $other)[0]['cut'], true);
    same(call('lab.link.delay', $other, 5, 60000)[0]['delay_ms'], 5);
    same(call('lab.link.drop', $other, 30)[0]['drop_percent'], 30);
    same(call('lab.link.heal', $ports[1]), ['healed' => 0]);
    same(call('lab.link.heal'), ['healed' => 1]);
    same(call('lab.link.list'), []);
    same(count(call('lab.trace', 0, 5)['events']), 5);
    same(call('lab.trace.switch', true), ['on' => true]);
    same(call('lab.trace.clear')['next'] >= 5, true);
    fault(150, 'hears itself', 'lab.link.cut', $ports[0]);
    return 'links';
};

$parts[] = function (): string {
    $names = call('system.listMethods');
    $sorted = $names;
    sort($sorted, SORT_STRING);
    same($names, $sorted);
    foreach ($names as $name) {
        same(str_starts_with(call('system.methodHelp', $name), "$name("), true, $name);
        foreach (call('system.methodSignature', $name) as $row) {
            same($row !== [] && array_filter($row, 'is_string') === $row, true, $name);
        }
    }
    $wanted = [['struct', 'string'], ['struct', 'string', 'string'], ['struct', 'string', 'string', 'struct']];
    same(call('system.methodSignature', 'propose'), $wanted);
    fault(-32601, "no method 'nothing'", 'system.methodHelp', 'nothing');
    $capabilities = call('system.getCapabilities');
    ksort($capabilities);
    $wanted = ['faults_interop', 'introspect', 'introspection', 'nil', 'system.multicall', 'xmlrpc'];
    same(array_keys($capabilities), $wanted);
    same($capabilities['xmlrpc'], ['specUrl' => 'http://www.xmlrpc.com/spec', 'specVersion' => 1]);
    return 'introspection';
};

$parts[] = function () use ($ports): string {
    $types = fn (array $struct) => array_map('get_debug_type', $struct);
    same($types(call('synod.version')), ['synod' => 'string', 'protocol' => 'int', 'process' => 'int']);
    $definite = [];
    foreach (call('synod.faults') as $row) {
        same($types($row), ['code' => 'int', 'name' => 'string', 'definite' => 'bool', 'meaning' => 'string']);
        $definite[$row['code']] = $row['definite'];
    }
    same([$definite[100], $definite[102]], [true, false]);
    $status = call('status');
    same([$status['node'], $status['mode'], array_column($status['members'], 'node')], [$ports[0], 'lab', $ports]);
    $ballot = "1.{$ports[0]}";
    $wanted = ['instance' => 'php 1', 'decided' => true, 'promised_ballot' => $ballot, 'accepted_ballot' => $ballot];
    same(call('status', 'php 1')['instances'], [$wanted + ['accepted_value' => 5, 'ballot' => $ballot, 'value' => 5]]);
    return 'version, faults, status';
};

$parts[] = function (): string {
    $one = fn (string $method, ...$params) => ['methodName' => $method, 'params' => $params];
    $calls = array_map(fn (int $number) => $one('propose', $number, "php many $number"), range(0, 9));
    $calls = [...$calls, $one('nothing'), $one('decided', 'php never'), $one('system.multicall', []), $one('propose')];
    $calls = [...$calls, 5, ['params' => []], ['methodName' => 'decided', 'params' => 5]];
    $answers = call('system.multicall', $calls);
    foreach (range(0, 9) as $at) {
        same($answers[$at][0]['value'], $at);
    }
    same($answers[11], [['decided' => false]]);
    $codes = array_map(fn (int $at) => $answers[$at]['faultCode'], [10, 12, 13, 14, 15, 16]);
    same($codes, [-32601, -32603, -32602, -32600, -32601, -32600]);
    same(call('system.multicall', []), []);
    fault(-32602, 'more than 1000', 'system.multicall', array_fill(0, 1001, $one('synod.version')));
    return 'multicall';
};

$parts[] = function (): string {
    $stooges = ['moe' => 1, 'larry' => 2, 'curly' => -9];
    same(call('validator1.arrayOfStructsTest', [$stooges, $stooges]), -18);
    $counts = ['ctLeftAngleBrackets' => 2, 'ctRightAngleBrackets' => 1, 'ctAmpersands' => 3];
    $counts += ['ctApostrophes' => 1, 'ctQuotes' => 4];
    same(call('validator1.countTheEntities', '<<>&&&\'"""" ü'), $counts);
    same(call('validator1.easyStructTest', $stooges), -6);
    $nested = ['a' => ['b' => [1, '2', 3.5, false, ['c' => 'Ü']]], 'd' => []];
    same(call('validator1.echoStructTest', $nested), $nested);
    $date = typed('19980717T14:08:55', 'datetime');
    $found = call('validator1.manyTypesTest', 7, true, '', 0.5, $date, typed("\0x", 'base64'));
    same([$found[4]->xmlrpc_type, $found[4]->scalar], ['datetime', '19980717T14:08:55']);
    unset($found[4]);
    same($found, [0 => 7, 1 => true, 2 => '', 3 => 0.5, 5 => typed("\0x", 'base64')]);
    same(call('validator1.moderateSizeArrayCheck', ['Wed', ...array_fill(0, 150, 'x'), 'nesday']), 'Wednesday');
    // PHP takes '2000' for a number, and an array of numbers for no struct: so the calendar is written out.
    $ints = '';
    foreach ($stooges as $name => $value) {
        $ints .= "<member><name>$name</name><value><int>$value</int></value></member>";
    }
    $calendar = "<struct>$ints</struct>";
    foreach (['01', '04', '2000'] as $name) {
        $calendar = "<struct><member><name>$name</name><value>$calendar</value></member></struct>";
    }
    global $ports, $called;
    $called['validator1.nestedStructTest'] = true;
    $body = '<methodCall><methodName>validator1.nestedStructTest</methodName>'
        . "<params><param><value>$calendar</value></param></params></methodCall>";
    same(xmlrpc_decode(post($ports[0], $body)[1]), -6);
    same(call('validator1.simpleStructReturnTest', 7), ['times10' => 70, 'times100' => 700, 'times1000' => 7000]);
    return 'validator1';
};

$parts[] = function () use ($ports, &$called): string {
    fault(-32601, "there is no method 'nothing.at.all'", 'nothing.at.all');
    fault(-32602, 'is missing', 'propose');
    fault(-32602, '', 'propose', 1, 'php fault', ['deadline_ms' => 5], 4);
    fault(-32602, '', 'decided', 1);
    fault(-32602, 'is not a ballot', 'prepare', 'five');
    fault(114, 'deadline_ms is above 60000', 'propose', 1, 'php fault', ['deadline_ms' => 60001]);
    fault(114, 'the member larry is missing', 'validator1.easyStructTest', ['moe' => 1]);
    fault(111, 'ignored: ', 'prepare', "18446744073709551615.{$ports[0]}", 'php fault');
    fault(113, 'larger than 1048576 bytes', 'propose', str_repeat('x', 1 << 20), 'php fault');
    same(call('decided', 'php fault'), ['decided' => false]);
    unset($called['nothing.at.all']);
    return 'faults with code and text';
};

// Nodes start unproven: nothing that is agreed upon is served before all have met, and elected.
$led = function (): string {
    until('a leader', function () {
        $rows = array_map(fn ($node) => call_on($node, 'bully.status'), [0, 1, 2]);
        $leaders = array_unique(array_map(fn ($row) => $row['leader'] ?? 0, $rows));
        if (count($leaders) !== 1 || $leaders[0] === 0 || in_array(false, array_column($rows, 'votes'), true)) {
            return false;
        }
        $kinds = ['leader' => 'int', 'epoch' => 'string', 'state' => 'string', 'eligible' => 'bool', 'hears' => 'array'];
        $kinds += ['votes' => 'bool', 'length' => 'int', 'committed' => 'int', 'applied' => 'int', 'snapshot' => 'int'];
        $kinds += ['state_hash' => 'string', 'waiting' => 'int'];
        foreach ($rows as $row) {
            same(array_map('get_debug_type', $row), $kinds);
        }
        return true;
    });
    return 'a leader';
};
$parts[] = $led;

/** A write's answer has its place in the log, and these members; gives the place. */
function wrote(array $answer, array $others = []): array
{
    $place = array_intersect_key($answer, ['epoch' => 0, 'counter' => 0]);
    same(array_map('get_debug_type', $place), ['epoch' => 'int', 'counter' => 'int'], shown($answer));
    same($answer, $place + $others);
    return $place;
}

/** Gives the version, too, which a key keeps growing from even after it was deleted. */
function put(string $method, ...$args): array
{
    $answer = call($method, ...$args);
    same(is_int($answer['version'] ?? null), true, shown($answer));
    return wrote($answer, ['version' => $answer['version']]) + ['version' => $answer['version']];
}

/** Calls of a batch are all begun before any is waited for. */
function batch(array ...$calls): array
{
    global $called;
    foreach ($calls as [$name]) {
        $called[$name] = true;
    }
    $one = fn (array $call) => ['methodName' => $call[0], 'params' => array_slice($call, 1)];
    return array_map(fn ($answer) => $answer[0] ?? $answer, call('system.multicall', array_map($one, $calls)));
}

/** Exactly these events are told, on and on from where the last call left off. */
function told(array $events, int $since, string $method, ...$args): int
{
    $found = [];
    while (count($found) < count($events)) {
        $answer = call($method, ...[...$args, $since, 60000]);
        same(array_map('get_debug_type', $answer), ['events' => 'array', 'next' => 'int']);
        $found = [...$found, ...$answer['events']];
        $since = $answer['next'];
    }
    same($found, $events, $method);
    return $since;
}

$parts[] = function (): string {
    $values = [0, -2147483648, 2147483647, true, false, 0.5, '', ' ', '<&>"\']]>', "a\tb\nc", 'Grüße 😀'];
    $values = [...$values, str_repeat('x', 10000), typed(implode(array_map('chr', range(0, 255))), 'base64')];
    $values = [...$values, [], [1, 'two', [3.5, true]], ['a' => 1, 'Ü' => ['b' => [['c' => 'd']]]]];
    $rows = [];
    foreach ($values as $at => $value) {
        $key = sprintf('php v/%02d', $at);
        $answer = put('kv.put', $key, $value);
        foreach ([0, 1, 2] as $node) {
            same(call_on($node, 'kv.get', $key), $answer + ['found' => true, 'value' => $value], $key);
        }
        $rows[] = ['key' => $key, 'value' => $value, 'version' => $answer['version']];
    }
    same(call('kv.list', 'php v/'), ['entries' => $rows, 'more' => false]);
    $found = call('kv.list', 'php v/', ['after' => 'php v/02', 'limit' => 2]);
    same($found, ['entries' => array_slice($rows, 3, 2), 'more' => true]);
    put('kv.put', 'php moment', typed('20261120T09:44:00', 'datetime'));
    $moment = call('kv.get', 'php moment')['value'];
    same([$moment->xmlrpc_type, $moment->scalar], ['datetime', '20261120T09:44:00']);
    $version = put('kv.cas', 'php Ü', 0, 'one')['version'];
    fault(116, "has version $version, not 0", 'kv.cas', 'php Ü', 0, 'two');
    same(put('kv.cas', 'php Ü', $version, 'two')['version'], $version + 1);
    $near = call('kv.get', 'php Ü', ['read' => 'local']);
    same([get_debug_type($near['applied']), get_debug_type($near['behind'])], ['int', 'int']);
    wrote(call('kv.delete', 'php Ü'), ['version' => $version + 1]);
    wrote(call('kv.delete', 'php Ü'));
    same(call('kv.get', 'php Ü'), ['found' => false]);
    return 'keys: ' . count($values) + 1 . ' values of all types, there and back; versions';
};

$parts[] = function (): string {
    $once = ['request' => 'php/2'];
    $first = put('kv.put', 'php once', 1, $once);
    same(call_on(2, 'kv.put', 'php once', 1, $once), $first);
    fault(122, 'php/2 was another call', 'kv.put', 'php once', 2, $once);
    fault(121, 'comes after php/2', 'kv.put', 'php once', 1, ['request' => 'php/1']);
    fault(114, 'client/sequence', 'kv.put', 'php once', 1, ['request' => 'php']);
    same(call('synod.outcome', 'php/2'), ['applied' => true, 'answer' => $first]);
    same(call('synod.outcome', 'php/3'), ['applied' => false, 'last' => 2]);
    same(call('synod.outcome', 'php never/1'), ['applied' => false]);
    same(call('kv.get', 'php once'), $first + ['found' => true, 'value' => 1]);
    return 'request ids: applied once';
};

$parts[] = function (): string {
    $since = put('kv.put', 'php w/other', 0)['counter'];
    [$found, $answer] = batch(['kv.watch', 'php w/', $since, 60000], ['kv.put', 'php w/1', [0.5]]);
    $event = $answer + ['what' => 'put', 'key' => 'php w/1', 'value' => [0.5]];
    same($found['events'], [$event]);
    $gone = call('kv.delete', 'php w/1') + ['what' => 'deleted', 'key' => 'php w/1'];
    $last = told([$event, $gone], $since, 'kv.watch', 'php w/');
    $quiet = call('kv.watch', 'php w/', $last, 1);
    same($quiet, ['events' => [], 'next' => $quiet['next']]);
    fault(114, 'timeout_ms is above 60000', 'kv.watch', 'php w/', 0, 60001);
    return 'watches';
};

$parts[] = function () use ($ports): string {
    $posted = call('board.strong.post', "first\n<&>");
    $id = $posted['id'];
    $place = wrote($posted, ['id' => $id]);
    $row = $place + ['id' => $id, 'text' => "first\n<&>", 'author' => $ports[0]];
    $after = ['after' => (string) ($id - 1)];
    same(call_on(2, 'board.strong.list', $after), [$row]);
    $events = [$row + ['what' => 'posted']];
    $events[] = wrote(call('board.strong.modify', $id, 'Ü'), ['id' => $id])
        + ['what' => 'modified', 'id' => $id, 'author' => $ports[0], 'text' => 'Ü'];
    same(array_column(call('board.strong.list', $after), 'text'), ['Ü']);
    $events[] = wrote(call('board.strong.delete', $id), ['id' => $id])
        + ['what' => 'deleted', 'id' => $id, 'author' => $ports[0]];
    same(call('board.strong.list', $after), []);
    fault(117, "no post $id", 'board.strong.delete', $id);
    told($events, $place['counter'] - 1, 'board.strong.watch');
    return 'the board';
};

$parts[] = function (): string {
    $name = 'php Ü.txt';
    $made = wrote(call('files.create', $name), ['message' => "CREATED FILE '$name'"]);
    fault(118, "FILE '$name' ALREADY EXISTS", 'files.create', $name);
    $one = wrote(call('files.append', $name, '<x> y'), ['message' => "WROTE '<x> y' TO FILE '$name'"]);
    same(call_on(1, 'files.read', $name), $one + ['name' => $name, 'text' => '<x> y', 'lines' => 1]);
    $rows = array_values(array_filter(call('files.list'), fn ($row) => $row['name'] === $name));
    same($rows, [$one + ['name' => $name, 'lines' => 1, 'bytes' => 5]]);
    $gone = wrote(call('files.delete', $name), ['message' => "DELETED FILE '$name'"]);
    fault(117, "FILE '$name' DOESN'T EXIST", 'files.read', $name);
    $found = call('files.history', $made['counter'] - 1);
    $line = fn (string $command, array $at) => "$command {$at['epoch']} {$at['counter']}";
    $lines = [$line("create $name", $made), $line("append $name <x> y", $one), $line("delete $name", $gone)];
    same($found, ['lines' => $lines, 'next' => $found['next']]);
    return 'files';
};

$parts[] = function (): string {
    $name = 'php lock';
    $held = call('lock.acquire', $name, 'ann', 60000);
    $token = $held['token'];
    same([get_debug_type($token), $held], ['int', ['granted' => true, 'token' => $token]]);
    same(call('lock.acquire', $name, 'bob', 60000, 1), ['granted' => false]);
    same(call('lock.renew', $name, 'ann', $token, 60000), $held);
    fault(120, "'ann' does, with token $token", 'lock.renew', $name, 'bob');
    [$row] = array_values(array_filter(call('lock.list'), fn ($row) => $row['name'] === $name));
    $left = $row['expires_in_ms'];
    same(is_int($left) && 0 < $left && $left <= 60000, true);
    same($row, ['name' => $name, 'owner' => 'ann', 'token' => $token, 'queue' => [], 'expires_in_ms' => $left]);
    $fence = ['token' => $token, 'lock' => $name];
    $answer = put('kv.put', 'php fenced', 1, $fence);
    $acquire = ['lock.acquire', $name, 'bob', 60000, 60000];
    [$next, $released] = batch($acquire, ['lock.release', $name, 'ann', $token]);
    wrote($released, ['released' => true]);
    same($next, ['granted' => true, 'token' => $next['token']]);
    same($next['token'] > $token, true);
    fault(119, "token $token does not hold", 'kv.put', 'php fenced', 2, $fence);
    fault(114, 'kv and files', 'board.strong.post', 'x', $fence);
    wrote(call('lock.release', $name, 'bob'), ['released' => true]);
    same(call('kv.get', 'php fenced'), $answer + ['found' => true, 'value' => 1]);
    return 'locks, queues and tokens';
};

$parts[] = function () use ($ports): string {
    $row = fn ($port) => ['node' => $port, 'address' => "127.0.0.1:$port"];
    same(call('cluster.members'), ['members' => array_map($row, $ports), 'changing' => false]);
    fault(124, 'is a member already', 'cluster.add', $ports[1], '127.0.0.1:7');
    fault(114, 'the address is not HOST:PORT', 'cluster.add', 7, 'here');
    fault(125, '7 is no member', 'cluster.remove', 7);
    return 'members';
};

// A hash table, flooding and an index: the route is in every answer.
$parts[] = function () use ($ports): string {
    foreach (['dht', 'flood', 'index'] as $overlay) {
        $key = "php $overlay";
        same(call("$overlay.set", $key, ['two', 1])['hops'][0], $ports[0]);
        $got = call_on(2, "$overlay.get", $key);
        same([$got['found'], $got['value'], $got['hops'][0]], [true, ['two', 1], $ports[2]]);
        call("$overlay.remove", $key);
        same(call("$overlay.get", $key)['found'], false);
        fault(140, 'nothing was changed', "$overlay.remove", $key);
        fault(144, 'at most 512 bytes', "$overlay.get", str_repeat('x', 513));
    }
    same(is_array(call('dht.fingers')), true);
    call('dht.leave');
    same(call('dht.ring')['state'], 'left');
    call('dht.join');
    same(call('dht.ring')['state'], 'joined');
    return 'overlays';
};

// What nodes say to each other: a client that says it wrongly gets a fault, and changes nothing.
$parts[] = function () use ($ports): string {
    $posted = call('board.eventual.post', "first\n<&>");
    [$id, $clock, $author] = [$posted['id'], $posted['clock'], $ports[0]];
    $row = ['id' => "$clock.$author", 'text' => "first\n<&>", 'author' => $author, 'clock' => $clock, 'server' => $author];
    same($posted, $row);
    $since = call('board.eventual.status')['changes'];
    foreach ([0, 1, 2] as $node) {
        until('the post everywhere', fn () => in_array($id, array_column(call_on($node, 'board.eventual.list'), 'id')));
    }
    $changed = call_on(2, 'board.eventual.modify', $id, 'Ü');
    same([$changed['text'], $changed['server']], ['Ü', $ports[2]]);
    $events = call('board.eventual.watch', $since, 60000)['events'];
    same($events, [$changed + ['what' => 'modified', 'counter' => $since + 1]]);
    $gone = call('board.eventual.delete', $id);
    same($gone, ['id' => $id, 'author' => $author, 'clock' => $gone['clock'], 'server' => $author]);
    fault(117, "no entry $id", 'board.eventual.modify', $id, 'x');
    return 'the eventual board';
};

$parts[] = function (): string {
    same(call('register.read', 'php never'), ['found' => false]);
    foreach ([5, 'Ü', [1, 'b'], true] as $value) {
        $written = call('register.write', 'php', $value);
        same(call_on(2, 'register.read', 'php'), $written + ['found' => true, 'value' => $value]);
    }
    fault(113, '513 bytes', 'register.write', str_repeat('x', 513), 1);
    same(call('register.quorum'), ['read' => 2, 'write' => 2, 'nodes' => 3, 'intersect' => true]);
    return 'quorum registers';
};

$parts[] = function () use ($ports, $led): string {
    $envelope = ['from' => $ports[1], 'to' => $ports[0], 'generation' => call('status')['generation']];
    foreach (array_diff(call('system.listMethods'), [
        'bully.status', 'bully.elect', 'register.read', 'register.write', 'register.quorum',
    ]) as $name) {
        if (preg_match('/^(log|bully|eventual|register)\.|\.message$/', $name)) {
            fault(-32602, 'is missing', $name);
            $name === 'log.blank' || fault(-32602, 'lacks a member', $name, ['none' => 0], $envelope);
        }
    }
    same(call('bully.elect')['votes'], true);
    $led();
    return "the nodes' own messages";
};

$parts[] = function () use ($guarded, $secret): string {
    $as = fn (string $who) => 'Authorization: Basic ' . base64_encode($who) . "\r\n";
    foreach (['', $as('alice:wrong'), $as("bob:$secret")] as $header) {
        same(post($guarded, encoded('status', []), $header)[0], 401);
    }
    [$status, $body] = post($guarded, encoded('propose', ['by alice', 'php']), $as("alice:$secret"));
    same([$status, xmlrpc_decode($body, 'utf-8')['value']], [200, 'by alice']);
    same(xmlrpc_decode(post($guarded, encoded('restart', []), $as("alice:$secret"))[1])['faultCode'], 115);
    return 'credentials';
};

$parts[] = function () use ($ports): string {
    $before = call('status')['generation'];
    foreach ($ports as $node => $port) {
        $answer = call_on($node, 'restart');
        same(is_int($answer['generation']) && $answer['generation'] > $before, true);
        same($answer['message'], "Node on port $port has been restarted.");
    }
    until('one generation', function () {
        return count(array_unique(array_map(fn ($node) => call_on($node, 'status')['generation'], [0, 1, 2]))) === 1;
    });
    same(call('decided', 'php 0'), ['decided' => false]);
    return 'restart';
};

$parts[] = function () use (&$called): string {
    $names = array_keys($called);
    sort($names, SORT_STRING);
    same($names, call('system.listMethods'), 'the methods that were called');
    return 'all ' . count($names) . ' methods';
};

try {
    foreach ($parts as $part) {
        echo $part(), "\n";
    }
} catch (Throwable $error) {
    fwrite(STDERR, $error->getMessage() . "\n" . $error->getTraceAsString() . "\n");
    exit(1);
}
