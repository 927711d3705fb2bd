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

%i[values large_ints nil_ phases learning gates introspection about multicall validator1 faults credentials restarting
   everything].each { |part| puts send(part) }
