# Ruby's xmlrpc/client calls every method of a node, and compares results and types exactly.
#
# Arguments: the ports of three lab nodes, the port of a node with credentials, and the secret that alice has there.
# Needs the xmlrpc library (Debian: ruby-xmlrpc). Prints a line for each thing that was checked; ends with 0 if all was
# as it should be.

require "xmlrpc/client"

$stdout.sync = true
# The library can write nil, which a node refuses.
XMLRPC::Config.module_eval do
  remove_const(:ENABLE_NIL_CREATE)
  const_set(:ENABLE_NIL_CREATE, true)
end

PORTS = ARGV[0..2].map(&:to_i)
GUARDED, SECRET = ARGV[3].to_i, ARGV[4]
NODES = PORTS.map { |port| XMLRPC::Client.new("127.0.0.1", "/RPC2", port) }
CALLED = {}
Base64Value = XMLRPC::Base64
DateValue = XMLRPC::DateTime

def call_on(node, method, *args)
  CALLED[method] = true
  NODES[node].call(method, *args)
end

def call(method, *args) = call_on(0, method, *args)

# Equal, and of the same classes, all the way down.
def same(found, wanted, what = "found")
  raise "#{what}: #{found.inspect} is a #{found.class}, not #{wanted.inspect}" unless found.class == wanted.class
  case wanted
  when Hash
    raise "#{what}: #{found.keys.sort}, not #{wanted.keys.sort}" unless found.keys.sort == wanted.keys.sort
    wanted.each { |key, value| same(found[key], value, "#{what}.#{key}") }
  when Array
    raise "#{what}: #{found.inspect}, not #{wanted.inspect}" unless found.size == wanted.size
    wanted.each_with_index { |value, at| same(found[at], value, "#{what}[#{at}]") }
  when DateValue
    raise "#{what}: #{found.to_a}, not #{wanted.to_a}" unless found.to_a == wanted.to_a
  else
    raise "#{what}: #{found.inspect}, not #{wanted.inspect}" unless found == wanted
  end
end

def fault(code, text, method, *args)
  result = call(method, *args)
rescue XMLRPC::FaultException => found
  same(found.faultCode, code, "#{method}: #{found.faultString}")
  raise "#{method}: #{found.faultString.inspect} does not say #{text.inspect}" unless found.faultString.include?(text)
else
  raise "#{method}: no fault, but #{result.inspect}"
end

def until_so(what)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 60
  while Process.clock_gettime(Process::CLOCK_MONOTONIC) < deadline
    found = yield
    return found if found
    sleep 0.005
  end
  raise "waited in vain for #{what}"
end

# What the library gives for <base64>: a string of bytes. So what is sent and what comes differ in class.
def sent(bytes) = Base64Value.new(bytes)

def values
  values = [0, 5, -1, 2**31 - 1, -(2**31), true, false, 0.5, -0.25]
  values += ["", " ", "5", "<&>\"']]>", "a\tb\nc", "Grüße 😀", "x" * 10_000]
  values += [DateValue.new(2026, 11, 20, 9, 44, 0), [], [[]], [1, "two", [3.5, true]], {}]
  values += [{ "a" => 1, "" => "", "Ü" => { "b" => [{ "c" => "d" }] } }]
  bytes = (0..255).to_a.pack("C*")
  pairs = values.map { |value| [value, value] } + [[sent(bytes), bytes]]
  pairs.each_with_index do |(given, value), at|
    instance = "ruby #{at}"
    answer = call("propose", given, instance)
    message = answer.delete("message")
    raise message unless message.match?(/\AValue '.*' has been updated and committed\.\z/m)
    wanted = { "instance" => instance, "outcome" => "yours", "ballot" => "1.#{PORTS[0]}", "attempts" => 1 }
    same(answer, wanted.merge("value" => value), instance)
    [1, 2].each do |node|
      known = until_so(instance) { (a = call_on(node, "decided", instance))["decided"] && a }
      same(known["value"], value, instance)
    end
  end
  same(call_on(1, "propose", "late", "ruby 0")["outcome"], "another's")
  same(call("propose", 7, "ruby option", { "deadline_ms" => 20_000 })["value"], 7)
  same(call("decided", "ruby never"), { "decided" => false })
  "#{pairs.size} values of all types, there and back"
end

def large_ints
  times = { "times10" => 21_474_836_470, "times100" => 214_748_364_700, "times1000" => 2_147_483_647_000 }
  same(call("validator1.simpleStructReturnTest", 2**31 - 1), times)
  "i8"
end

def nil_
  [nil, [nil], { "a" => nil }].each { |value| fault(-32_602, "nil", "propose", value, "ruby nil") }
  fault(-32_602, "nil", "validator1.echoStructTest", { "a" => nil })
  "nil is refused"
end

def phases
  hand = "ruby hand"
  same(call("prepare", "5.0", hand), { "promised" => true, "promised_ballot" => "5.0" })
  same(call("prepare", { "round" => 4, "node" => 9 }, hand), { "promised" => false, "promised_ballot" => "5.0" })
  same(call("accept", 5, 1.5, hand), { "accepted" => true, "promised_ballot" => "5.0" })
  same(call("accept", "4.9", 2.5, hand), { "accepted" => false, "promised_ballot" => "5.0" })
  wanted = { "promised" => true, "promised_ballot" => "6.0", "accepted_ballot" => "5.0", "accepted_value" => 1.5 }
  same(call("prepare", "6.0", hand), wanted)
  same(call("commit", 5, 1.5, hand), { "committed" => true })
  same(call("decided", hand), { "decided" => true, "value" => 1.5, "ballot" => "5.0" })
  "the phases by hand"
end

def learning
  envelope = { "from" => PORTS[1], "to" => PORTS[0], "generation" => call("status")["generation"] }
  ask = { "after" => 0, "count" => 0, "digest" => 0, "open" => ["ruby hand"] }
  learned = call("learn", ask, envelope)["learned"]
  same(learned["more"], false)
  known = { "instance" => "ruby hand", "ballot" => "5.0", "value" => 1.5 }
  raise learned.inspect unless learned["decided"].include?(known)
  fault(111, "the message is for", "learn", ask, envelope.merge("to" => PORTS[1]))
  "learn"
end

def gates
  other = PORTS[2]
  same(call("lab.gate.list"), [])
  same(call("lab.gate.hold", "prepare", other), { "held" => 0 })
  same(call("propose", "past the gate", "ruby gate")["outcome"], "yours")
  same(call("lab.gate.wait", "prepare", other, 1, 30_000), { "held" => 1 })
  same(call("lab.gate.list"), [{ "method" => "prepare", "to" => other, "held" => 1 }])
  same(call("lab.gate.release", "prepare", other, 1), { "released" => 1 })
  same(call("lab.gate.list"), [{ "method" => "prepare", "to" => other, "held" => 0 }])
  same(call("lab.gate.release", "prepare", other), { "released" => 0 })
  same(call("lab.gate.hold", "commit", other, 60_000), { "held" => 0 })
  same(call("lab.gate.clear"), { "released" => 0 })
  same(call("lab.gate.list"), [])
  fault(114, "no member", "lab.gate.hold", "prepare", 1)
  "gates"
end

def links
  other = PORTS[2]
  same(call("lab.gate.next"), { "held" => false })
  same(call("lab.link.list"), [])
  same(call("lab.link.cut", other)[0]["cut"], true)
  same(call("lab.link.delay", other, 5, 60_000)[0]["delay_ms"], 5)
  same(call("lab.link.drop", other, 30)[0]["drop_percent"], 30)
  same(call("lab.link.heal", PORTS[1]), { "healed" => 0 })
  same(call("lab.link.heal"), { "healed" => 1 })
  same(call("lab.link.list"), [])
  same(call("lab.trace", 0, 5)["events"].length, 5)
  same(call("lab.trace.switch", true), { "on" => true })
  same(call("lab.trace.clear")["next"] >= 5, true)
  fault(150, "hears itself", "lab.link.cut", PORTS[0])
  "links"
end

def introspection
  names = call("system.listMethods")
  same(names, names.sort)
  names.each do |name|
    raise name unless call("system.methodHelp", name).start_with?("#{name}(")
    call("system.methodSignature", name).each { |row| raise name if row.empty? || !row.all?(String) }
  end
  wanted = [%w[struct string], %w[struct string string], %w[struct string string struct]]
  same(call("system.methodSignature", "propose"), wanted)
  fault(-32_601, "no method 'nothing'", "system.methodHelp", "nothing")
  capabilities = call("system.getCapabilities")
  same(capabilities.keys.sort, %w[faults_interop introspect introspection nil system.multicall xmlrpc])
  same(capabilities["xmlrpc"], { "specUrl" => "http://www.xmlrpc.com/spec", "specVersion" => 1 })
  "introspection"
end

def about
  same(call("synod.version").transform_values(&:class), { "synod" => String, "protocol" => Integer, "process" => Integer })
  definite = call("synod.faults").to_h do |row|
    same(row.transform_values(&:class).reject { |name, _| name == "definite" },
         { "code" => Integer, "name" => String, "meaning" => String })
    [row["code"], row["definite"]]
  end
  same([definite[100], definite[102]], [true, false])
  status = call("status")
  same([status["node"], status["mode"]], [PORTS[0], "lab"])
  same(status["members"].map { |member| member["node"] }, PORTS)
  ballot = "1.#{PORTS[0]}"
  wanted = { "instance" => "ruby 1", "decided" => true, "promised_ballot" => ballot, "accepted_ballot" => ballot,
             "accepted_value" => 5, "ballot" => ballot, "value" => 5 }
  same(call("status", "ruby 1")["instances"], [wanted])
  "version, faults, status"
end

def multicall
  CALLED["system.multicall"] = true
  calls = (0..9).map { |number| ["propose", number, "ruby many #{number}"] }
  calls += [["nothing"], ["decided", "ruby never"], ["system.multicall", []], ["propose"]]
  answers = NODES[0].multicall(*calls)
  same((0..9).map { |at| answers[at]["value"] }, (0..9).to_a)
  same(answers[11], { "decided" => false })
  { 10 => -32_601, 12 => -32_603, 13 => -32_602 }.each do |at, code|
    same([answers[at].class, answers[at].faultCode], [XMLRPC::FaultException, code], "item #{at}")
  end
  bad = [5, { "params" => [] }, { "methodName" => "decided", "params" => 5 }]
  same(call("system.multicall", bad).map { |row| row["faultCode"] }, [-32_600, -32_601, -32_600])
  same(call("system.multicall", []), [])
  too_many = [{ "methodName" => "synod.version", "params" => [] }] * 1001
  fault(-32_602, "more than 1000", "system.multicall", too_many)
  "multicall"
end

def validator1
  stooges = { "moe" => 1, "larry" => 2, "curly" => -9 }
  same(call("validator1.arrayOfStructsTest", [stooges, stooges]), -18)
  counts = { "ctLeftAngleBrackets" => 2, "ctRightAngleBrackets" => 1, "ctAmpersands" => 3, "ctApostrophes" => 1,
             "ctQuotes" => 4 }
  same(call("validator1.countTheEntities", "<<>&&&'\"\"\"\" ü"), counts)
  same(call("validator1.easyStructTest", stooges), -6)
  nested = { "a" => { "b" => [1, "2", 3.5, false, { "c" => "Ü" }] }, "" => [] }
  same(call("validator1.echoStructTest", nested), nested)
  date = DateValue.new(1998, 7, 17, 14, 8, 55)
  found = call("validator1.manyTypesTest", (2**63 - 1).to_s, true, "", 0.5, date, sent("\0x"))
  same(found, [2**63 - 1, true, "", 0.5, date, "\0x"])
  same(call("validator1.moderateSizeArrayCheck", ["Wed"] + ["x"] * 150 + ["nesday"]), "Wednesday")
  same(call("validator1.nestedStructTest", { "2000" => { "04" => { "01" => stooges } } }), -6)
  "validator1"
end

def faults
  fault(-32_601, "there is no method 'nothing.at.all'", "nothing.at.all")
  fault(-32_602, "is missing", "propose")
  fault(-32_602, "", "propose", 1, "ruby fault", {}, 4)
  fault(-32_602, "", "decided", 1)
  fault(-32_602, "is not a ballot", "prepare", "five")
  fault(114, "deadline_ms is above 60000", "propose", 1, "ruby fault", { "deadline_ms" => 60_001 })
  fault(114, "the member moe is missing", "validator1.easyStructTest", {})
  fault(111, "ignored: ", "prepare", "18446744073709551615.#{PORTS[0]}", "ruby fault")
  fault(113, "larger than 1048576 bytes", "propose", "x" * 2**20, "ruby fault")
  same(call("decided", "ruby fault"), { "decided" => false })
  CALLED.delete("nothing.at.all")
  "faults with code and text"
end

def credentials
  guarded = ->(name, secret) { XMLRPC::Client.new("127.0.0.1", "/RPC2", GUARDED, nil, nil, name, secret) }
  [[nil, nil], %w[alice wrong], ["bob", SECRET]].each do |name, secret|
    begin
      result = guarded.(name, secret).call("status")
    rescue RuntimeError => refusal
      raise unless refusal.message.include?("Authorization failed") || refusal.message.include?("401")
    else
      raise "#{name} was not refused: #{result.inspect}"
    end
  end
  alice = guarded.("alice", SECRET)
  same(alice.call("propose", "by alice", "ruby")["value"], "by alice")
  ok, found = alice.call2("restart")
  same([ok, found.faultCode], [false, 115])
  "credentials"
end

# Nodes start unproven: nothing that is agreed upon is served before all have met, and elected.
def led
  kinds = { "leader" => Integer, "epoch" => String, "state" => String, "hears" => Array, "length" => Integer,
            "committed" => Integer, "applied" => Integer, "snapshot" => Integer, "state_hash" => String,
            "waiting" => Integer, "eligible" => TrueClass, "member" => TrueClass, "votes" => TrueClass }
  until_so("a leader") do
    rows = (0..2).map { |node| call_on(node, "bully.status") }
    next false unless rows.map { |row| row["leader"] }.uniq.then { |all| all.size == 1 && all[0] }
    next false unless rows.all? { |row| row["votes"] && row["eligible"] }
    rows.each { |row| same(row.transform_values(&:class), kinds) }
  end
  "a leader"
end

# A write's answer has its place in the log, and these members; gives the place.
def wrote(answer, others = {})
  place = answer.slice("epoch", "counter")
  same(place.transform_values(&:class), { "epoch" => Integer, "counter" => Integer })
  same(answer, place.merge(others))
  place
end

# Gives the version, too, which a key keeps growing from even after it was deleted.
def put(method, *args)
  answer = call(method, *args)
  wrote(answer, { "version" => Integer(answer["version"]) })
  answer
end

# Calls of a batch are all begun before any is waited for.
def batch(*calls)
  calls.each { |name, *| CALLED[name] = true }
  NODES[0].multicall(*calls)
end

# Exactly these events are told, on and on from where the last call left off.
def told(events, since, method, *args)
  found = []
  while found.size < events.size
    answer = call(method, *args, since, 60_000)
    same(answer.transform_values(&:class), { "events" => Array, "next" => Integer })
    found += answer["events"]
    since = answer["next"]
  end
  same(found, events, method)
  since
end

def keys
  values = [0, -(2**31), 2**31 - 1, true, false, 0.5, "", " ", "<&>\"']]>", "a\tb\nc", "Grüße 😀", "x" * 10_000]
  values += [DateValue.new(2026, 11, 20, 9, 44, 0), [], [1, "two", [3.5, true]], {}]
  values += [{ "a" => 1, "" => "", "Ü" => { "b" => [{ "c" => "d" }] } }]
  bytes = (0..255).to_a.pack("C*")
  pairs = values.map { |value| [value, value] } + [[sent(bytes), bytes]]
  rows = pairs.each_with_index.map do |(given, value), at|
    key = format("ruby v/%02d", at)
    answer = put("kv.put", key, given)
    (0..2).each { |node| same(call_on(node, "kv.get", key), answer.merge("found" => true, "value" => value), key) }
    { "key" => key, "value" => value, "version" => answer["version"] }
  end
  same(call("kv.list", "ruby v/"), { "entries" => rows, "more" => false })
  options = { "after" => "ruby v/02", "limit" => 2 }
  same(call("kv.list", "ruby v/", options), { "entries" => rows[3, 2], "more" => true })
  fault(-32_602, "nil", "kv.put", "ruby nil", nil)
  version = put("kv.cas", "ruby Ü", 0, "one")["version"]
  fault(116, "has version #{version}, not 0", "kv.cas", "ruby Ü", 0, "two")
  same(put("kv.cas", "ruby Ü", version, "two")["version"], version + 1)
  near = call("kv.get", "ruby Ü", { "read" => "local" })
  same([near["applied"], near["behind"]].map(&:class), [Integer, Integer])
  wrote(call("kv.delete", "ruby Ü"), { "version" => version + 1 })
  wrote(call("kv.delete", "ruby Ü"))
  same(call("kv.get", "ruby Ü"), { "found" => false })
  "keys: #{pairs.size} values of all types, there and back; versions"
end

def requests
  once = { "request" => "ruby/2" }
  first = put("kv.put", "ruby once", 1, once)
  same(call_on(2, "kv.put", "ruby once", 1, once), first)
  fault(122, "ruby/2 was another call", "kv.put", "ruby once", 2, once)
  fault(121, "comes after ruby/2", "kv.put", "ruby once", 1, { "request" => "ruby/1" })
  fault(114, "client/sequence", "kv.put", "ruby once", 1, { "request" => "ruby" })
  same(call("synod.outcome", "ruby/2"), { "applied" => true, "answer" => first })
  same(call("synod.outcome", "ruby/3"), { "applied" => false, "last" => 2 })
  same(call("synod.outcome", "ruby never/1"), { "applied" => false })
  same(call("kv.get", "ruby once"), first.merge("found" => true, "value" => 1))
  "request ids: applied once"
end

def watching
  since = put("kv.put", "ruby w/other", 0)["counter"]
  found, answer = batch(["kv.watch", "ruby w/", since, 60_000], ["kv.put", "ruby w/1", [0.5]])
  event = answer.merge("what" => "put", "key" => "ruby w/1", "value" => [0.5])
  same(found["events"], [event])
  gone = call("kv.delete", "ruby w/1").merge("what" => "deleted", "key" => "ruby w/1")
  last = told([event, gone], since, "kv.watch", "ruby w/")
  quiet = call("kv.watch", "ruby w/", last, 1)
  same(quiet, { "events" => [], "next" => quiet["next"] })
  fault(114, "timeout_ms is above 60000", "kv.watch", "ruby w/", 0, 60_001)
  "watches"
end

def board
  posted = call("board.strong.post", "first\n<&>")
  id = Integer(posted["id"])
  place = wrote(posted, { "id" => id })
  row = place.merge("id" => id, "text" => "first\n<&>", "author" => PORTS[0])
  after = { "after" => (id - 1).to_s }
  same(call_on(2, "board.strong.list", after), [row])
  modified = call("board.strong.modify", id, "Ü")
  wrote(modified, { "id" => id })
  same(call("board.strong.list", after).map { |found| found["text"] }, ["Ü"])
  gone = call("board.strong.delete", id)
  wrote(gone, { "id" => id })
  same(call("board.strong.list", after), [])
  fault(117, "no post #{id}", "board.strong.delete", id)
  events = [row.merge("what" => "posted"), modified.merge("what" => "modified", "author" => PORTS[0], "text" => "Ü")]
  events << gone.merge("what" => "deleted", "author" => PORTS[0])
  told(events, place["counter"] - 1, "board.strong.watch")
  "the board"
end

def files
  name = "ruby Ü.txt"
  made = wrote(call("files.create", name), { "message" => "CREATED FILE '#{name}'" })
  fault(118, "FILE '#{name}' ALREADY EXISTS", "files.create", name)
  one = wrote(call("files.append", name, "<x> y"), { "message" => "WROTE '<x> y' TO FILE '#{name}'" })
  same(call_on(1, "files.read", name), one.merge("name" => name, "text" => "<x> y", "lines" => 1))
  rows = call("files.list").select { |row| row["name"] == name }
  same(rows, [one.merge("name" => name, "lines" => 1, "bytes" => 5)])
  gone = wrote(call("files.delete", name), { "message" => "DELETED FILE '#{name}'" })
  fault(117, "FILE '#{name}' DOESN'T EXIST", "files.read", name)
  commands = { "create #{name}" => made, "append #{name} <x> y" => one, "delete #{name}" => gone }
  found = call("files.history", made["counter"] - 1)
  same(found["lines"], commands.map { |command, at| "#{command} #{at["epoch"]} #{at["counter"]}" })
  same(found["next"].class, Integer)
  "files"
end

def locks
  name = "ruby lock"
  held = call("lock.acquire", name, "ann", 60_000)
  token = Integer(held["token"])
  same(held, { "granted" => true, "token" => token })
  same(call("lock.acquire", name, "bob", 60_000, 1), { "granted" => false })
  same(call("lock.renew", name, "ann", token, 60_000), held)
  fault(120, "'ann' does, with token #{token}", "lock.renew", name, "bob")
  (row,) = call("lock.list").select { |found| found["name"] == name }
  raise row.inspect unless (1..60_000).cover?(row.delete("expires_in_ms"))
  same(row, { "name" => name, "owner" => "ann", "token" => token, "queue" => [] })
  fence = { "token" => token, "lock" => name }
  answer = put("kv.put", "ruby fenced", 1, fence)
  following, released = batch(["lock.acquire", name, "bob", 60_000, 60_000], ["lock.release", name, "ann", token])
  wrote(released, { "released" => true })
  raise following.inspect unless following["granted"] && following["token"] > token
  fault(119, "token #{token} does not hold", "kv.put", "ruby fenced", 2, fence)
  fault(114, "kv and files", "board.strong.post", "x", fence)
  wrote(call("lock.release", name, "bob"), { "released" => true })
  same(call("kv.get", "ruby fenced"), answer.merge("found" => true, "value" => 1))
  "locks, queues and tokens"
end

def members
  rows = PORTS.sort.map { |port| { "node" => port, "address" => "127.0.0.1:#{port}" } }
  same(call("cluster.members"), { "members" => rows, "changing" => false })
  fault(124, "is a member already", "cluster.add", PORTS[1], "127.0.0.1:7")
  fault(114, "the address is not HOST:PORT", "cluster.add", 7, "here")
  fault(125, "7 is no member", "cluster.remove", 7)
  "members"
end

def eventual
  posted = call("board.eventual.post", "first\n<&>")
  id, clock = posted.values_at("id", "clock")
  row = { "id" => "#{clock}.#{PORTS[0]}", "text" => "first\n<&>", "author" => PORTS[0] }
  same(posted, row.merge("clock" => clock, "server" => PORTS[0]))
  since = call("board.eventual.status")["changes"]
  (0..2).each do |node|
    until_so("the post everywhere") { call_on(node, "board.eventual.list").any? { |found| found["id"] == id } }
  end
  changed = call_on(2, "board.eventual.modify", id, "Ü")
  same(changed.values_at("text", "server"), ["Ü", PORTS[2]])
  events = call("board.eventual.watch", since, 60_000)["events"]
  same(events, [changed.merge("what" => "modified", "counter" => since + 1)])
  gone = call("board.eventual.delete", id)
  same(gone, { "id" => id, "author" => PORTS[0], "clock" => gone["clock"], "server" => PORTS[0] })
  fault(117, "no entry #{id}", "board.eventual.modify", id, "x")
  "the eventual board"
end

def registers
  same(call("register.read", "ruby never"), { "found" => false })
  [5, "Ü", [1, { "a" => "b" }], true].each do |value|
    written = call("register.write", "ruby", value)
    same(call_on(2, "register.read", "ruby"), written.merge("found" => true, "value" => value))
  end
  fault(113, "513 bytes", "register.write", "x" * 513, 1)
  same(call("register.quorum"), { "read" => 2, "write" => 2, "nodes" => 3, "intersect" => true })
  "quorum registers"
end

# A hash table, flooding and an index: the route is in every answer.
def overlays
  %w[dht flood index].each do |overlay|
    key = "ruby #{overlay}"
    same(call("#{overlay}.set", key, ["two", 1])["hops"][0], PORTS[0])
    got = call_on(2, "#{overlay}.get", key)
    same([got["found"], got["value"], got["hops"][0]], [true, ["two", 1], PORTS[2]])
    call("#{overlay}.remove", key)
    same(call("#{overlay}.get", key)["found"], false)
    fault(140, "nothing was changed", "#{overlay}.remove", key)
    fault(144, "at most 512 bytes", "#{overlay}.get", "x" * 513)
  end
  same(call("dht.fingers").class, Array)
  call("dht.leave")
  same(call("dht.ring")["state"], "left")
  call("dht.join")
  same(call("dht.ring")["state"], "joined")
  "overlays"
end

# What nodes say to each other: a client that says it wrongly gets a fault, and changes nothing.
def messages
  envelope = { "from" => PORTS[1], "to" => PORTS[0], "generation" => call("status")["generation"] }
  names = call("system.listMethods").grep(/\A(log|bully|eventual|register)\.|\.message\z/)
  names -= %w[bully.status bully.elect register.read register.write register.quorum]
  names.each do |name|
    fault(-32_602, "is missing", name)
    fault(-32_602, "lacks a member", name, {}, envelope) unless name == "log.blank"
  end
  same(call("bully.elect")["votes"], true)
  led
  "the nodes' own messages"
end

def restarting
  before = call("status")["generation"]
  PORTS.each_with_index do |port, node|
    answer = call_on(node, "restart")
    raise answer.inspect unless answer["generation"].is_a?(Integer) && answer["generation"] > before
    same(answer["message"], "Node on port #{port} has been restarted.")
  end
  until_so("one generation") { (0..2).map { |node| call_on(node, "status")["generation"] }.uniq.size == 1 }
  same(call("decided", "ruby 0"), { "decided" => false })
  "restart"
end

def everything
  same(CALLED.keys.sort, call("system.listMethods"), "the methods that were called")
  "all #{CALLED.size} methods"
end

%i[values large_ints nil_ phases learning gates links introspection about multicall validator1 faults led keys requests
   watching board files locks eventual registers members overlays messages credentials restarting everything].each do |part|
  puts send(part)
end
