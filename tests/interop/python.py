"""Python's xmlrpc.client calls every method of a node, and compares results and types exactly.

Arguments: the ports of three lab nodes, the port of a node with credentials, and the secret that alice has there.
Standard library only. Prints a line for each thing that was checked; ends with 0 if all was as it should be.
"""

import sys
import threading
import time
from base64 import b64encode
from datetime import datetime
from xmlrpc.client import Binary, DateTime, Fault, MultiCall, ProtocolError, ServerProxy

PORTS = [int(word) for word in sys.argv[1:4]]
GUARDED, SECRET = int(sys.argv[4]), sys.argv[5]
NODES = [ServerProxy(f"http://127.0.0.1:{port}", use_builtin_types=True, allow_none=True) for port in PORTS]
NODE = NODES[0]
CALLED = set()


def call(method, *args, on=NODE):
    """Calls a method, and notes that it was called."""
    CALLED.add(method)
    return getattr(on, method)(*args)


def same(found, wanted, what=""):
    """Equal, and of the same types, all the way down. For Python, True == 1 and 1 == 1.0; not for us."""
    assert type(found) is type(wanted), f"{what}: {found!r} is a {type(found).__name__}, not {wanted!r}"
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), f"{what}: {sorted(found)}, not {sorted(wanted)}"
        for key in wanted:
            same(found[key], wanted[key], f"{what}.{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), f"{what}: {found!r}, not {wanted!r}"
        for at, (one, other) in enumerate(zip(found, wanted)):
            same(one, other, f"{what}[{at}]")
    else:
        assert found == wanted, f"{what}: {found!r}, not {wanted!r}"


def fault(code, text, method, *args):
    """The call must end with this fault, whose text holds that."""
    try:
        result = call(method, *args)
    except Fault as found:
        same(found.faultCode, code, f"{method}{args}: {found.faultString}")
        assert text in found.faultString, f"{method}{args}: {found.faultString!r} does not say {text!r}"
    else:
        raise AssertionError(f"{method}{args}: no fault, but {repr(result):.2000}")


def until(what, look):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"waited in vain for {what}")


def learned(instance, on):
    return until(instance, lambda: (a := call("decided", instance, on=on))["decided"] and a)


def values():
    values = [0, 5, -1, 2**31 - 1, -(2**31), True, False, 0.5, -0.25, 1e22, -1.5e-7]
    values += ["", " ", "5", "<&>\"']]>", "a\tb\nc", "Grüße 😀", "x" * 10000]
    values += [bytes(range(256)), b"", datetime(2026, 11, 20, 9, 44, 0)]
    values += [[], [[]], [1, "two", [3.5, True]], {}, {"a": 1, "": "", "Ü": {"b": [{"c": b"\0"}]}}]
    for at, value in enumerate(values):
        instance = f"python {at}"
        answer = call("propose", value, instance)
        message = answer.pop("message")
        assert message.startswith("Value '") and message.endswith("' has been updated and committed."), message
        wanted = {"instance": instance, "value": value, "outcome": "yours", "ballot": f"1.{PORTS[0]}", "attempts": 1}
        same(answer, wanted, repr(value))
        for node in NODES[1:]:
            same(learned(instance, node)["value"], value, repr(value))
    same(call("propose", "late", "python 0", on=NODES[1])["outcome"], "another's")
    same(call("propose", 7, "python option", {"deadline_ms": 20000})["value"], 7)
    same(call("decided", "python never"), {"decided": False})
    return f"{len(values)} values of all types, there and back"


def own_types():
    """Without use_builtin_types, bytes and dates have types of the module's own."""
    plain = ServerProxy(f"http://127.0.0.1:{PORTS[0]}")
    found = plain.validator1.echoStructTest({"b": Binary(b"\0x"), "d": DateTime("19980717T14:08:55")})
    same(found["b"].data, b"\0x")
    same(found["d"].value, "19980717T14:08:55")
    return "Binary and DateTime"


def large_ints():
    """This client cannot send more than 32 bits; a decimal string stands in where the parameter is a number."""
    many = call("validator1.manyTypesTest", str(2**63 - 1), True, "", 0.5, datetime(1998, 7, 17, 14, 8, 55), b"")
    same(many, [2**63 - 1, True, "", 0.5, datetime(1998, 7, 17, 14, 8, 55), b""])
    times = {"times10": 21474836470, "times100": 214748364700, "times1000": 2147483647000}
    same(call("validator1.simpleStructReturnTest", 2**31 - 1), times)
    return "i8"


def nil():
    for value in [None, [None], {"a": [None]}]:
        fault(-32602, "nil", "propose", value, "python nil")
    fault(-32602, "nil", "validator1.echoStructTest", {"a": None})
    return "nil is refused"


def phases():
    same(call("prepare", "5.0", "python hand"), {"promised": True, "promised_ballot": "5.0"})
    same(call("prepare", {"round": 4, "node": 9}, "python hand"), {"promised": False, "promised_ballot": "5.0"})
    same(call("accept", 5, 1.5, "python hand"), {"accepted": True, "promised_ballot": "5.0"})
    same(call("accept", "4.9", 2.5, "python hand"), {"accepted": False, "promised_ballot": "5.0"})
    wanted = {"promised": True, "promised_ballot": "6.0", "accepted_ballot": "5.0", "accepted_value": 1.5}
    same(call("prepare", "6.0", "python hand"), wanted)
    same(call("commit", 5, 1.5, "python hand"), {"committed": True})
    same(call("decided", "python hand"), {"decided": True, "value": 1.5, "ballot": "5.0"})
    return "the phases by hand"


def learning():
    envelope = {"from": PORTS[1], "to": PORTS[0], "generation": call("status")["generation"]}
    ask = {"after": 0, "count": 0, "digest": 0, "open": ["python hand"]}
    learned = call("learn", ask, envelope)["learned"]
    assert {"instance": "python hand", "ballot": "5.0", "value": 1.5} in learned["decided"], learned
    same(type(learned["more"]), bool)
    fault(111, "the message is for", "learn", ask, envelope | {"to": PORTS[1]})
    fault(-32602, "after", "learn", {}, envelope)
    return "learn"


def gates():
    other = PORTS[2]
    same(call("lab.gate.list"), [])
    same(call("lab.gate.hold", "prepare", other), {"held": 0})
    same(call("propose", "past the gate", "python gate")["outcome"], "yours")
    same(call("lab.gate.wait", "prepare", other, 1, 30000), {"held": 1})
    same(call("lab.gate.wait", "prepare", other, 2, 1), {"held": 1})
    same(call("lab.gate.list"), [{"method": "prepare", "to": other, "held": 1}])
    same(call("lab.gate.release", "prepare", other, 1), {"released": 1})
    same(call("lab.gate.list"), [{"method": "prepare", "to": other, "held": 0}])
    same(call("lab.gate.release", "prepare", other), {"released": 0})
    same(call("lab.gate.hold", "commit", other, 60000), {"held": 0})
    same(call("lab.gate.clear"), {"released": 0})
    same(call("lab.gate.list"), [])
    fault(114, "no member", "lab.gate.hold", "prepare", 1)
    fault(-32602, "a gate holds", "lab.gate.hold", "promise", other)
    return "gates"


def links():
    other = PORTS[2]
    same(call("lab.gate.next"), {"held": False})
    same(call("lab.link.list"), [])
    row = call("lab.link.cut", other)[0]
    same((row["to"], row["cut"], 0 < row["ttl_ms"] <= 300000), (other, True, True))
    row = call("lab.link.delay", other, 5, 60000)[0]
    same((row["delay_ms"], 60000 < row["ttl_ms"]), (5, True))
    same(call("lab.link.drop", other, 30)[0]["drop_percent"], 30)
    same(call("lab.link.heal", PORTS[1]), {"healed": 0})
    same(call("lab.link.heal"), {"healed": 1})
    same(call("lab.link.list"), [])
    page = call("lab.trace", 0, 5)
    same((page["node"], page["on"], len(page["events"]), page["next"]), (PORTS[0], True, 5, page["events"][0]["seq"] + 5))
    same(page["events"][0]["clock"].split(":")[0], str(PORTS[0]))
    fault(114, "above 1000", "lab.trace", 0, 1001)
    same(call("lab.trace.switch", True), {"on": True})
    same(call("lab.trace.clear")["next"] >= page["next"], True)
    fault(150, "hears itself", "lab.link.cut", PORTS[0])
    fault(150, "no member", "lab.link.heal", 1)
    fault(114, "above 100", "lab.link.drop", other, 101)
    return "links"


def introspection():
    names = call("system.listMethods")
    same(names, sorted(names))
    for name in names:
        assert call("system.methodHelp", name).startswith(f"{name}("), name
        for row in call("system.methodSignature", name):
            assert row and all(type(kind) is str for kind in row), row
    wanted = [["struct", "string"], ["struct", "string", "string"], ["struct", "string", "string", "struct"]]
    same(call("system.methodSignature", "propose"), wanted)
    fault(-32601, "no method 'nothing'", "system.methodHelp", "nothing")
    fault(-32601, "no method 'nothing'", "system.methodSignature", "nothing")
    capabilities = call("system.getCapabilities")
    wanted = ["faults_interop", "introspect", "introspection", "nil", "system.multicall", "xmlrpc"]
    same(sorted(capabilities), wanted)
    same(capabilities["xmlrpc"], {"specUrl": "http://www.xmlrpc.com/spec", "specVersion": 1})
    return "introspection"


def about():
    version = call("synod.version")
    same({name: type(value) for name, value in version.items()}, {"synod": str, "protocol": int, "process": int})
    rows = call("synod.faults")
    same([row["code"] for row in rows], sorted(row["code"] for row in rows))
    for row in rows:
        kinds = {"code": int, "name": str, "definite": bool, "meaning": str}
        same({name: type(value) for name, value in row.items()}, kinds)
    definite = {row["code"]: row["definite"] for row in rows}
    assert (definite[100], definite[102]) == (True, False), definite
    status = call("status")
    same([member["node"] for member in status["members"]], PORTS)
    same((status["node"], status["mode"], status["address"]), (PORTS[0], "lab", f"127.0.0.1:{PORTS[0]}"))
    assert type(status["uptime_ms"]) is int and all(type(n) is int for n in status["counters"].values()), status
    (row,) = call("status", "python 1")["instances"]
    ballot = f"1.{PORTS[0]}"
    wanted = {"instance": "python 1", "decided": True, "promised_ballot": ballot, "accepted_ballot": ballot}
    same(row, wanted | {"accepted_value": 5, "ballot": ballot, "value": 5})
    return "version, faults, status"


def multicall():
    batch = MultiCall(NODE)
    for number in range(20):
        batch.propose(number, f"python many {number}")
    batch.nothing()
    batch.decided("python never")
    answers = batch()
    same([answers[at]["value"] for at in range(20)], list(range(20)))
    same(answers[21], {"decided": False})
    try:
        raise AssertionError(f"no fault, but {answers[20]!r}")
    except Fault as found:
        same(found.faultCode, -32601)
    calls = [{"methodName": "system.multicall", "params": [[]]}, {"params": []}, 5, {"methodName": "decided", "params": 5}]
    calls += [{"methodName": "propose", "params": []}, {"methodName": "decided", "params": ["python never"]}, {"methodName": 5}]
    found = call("system.multicall", calls)
    codes = [-32603, -32601, -32600, -32600, -32602, None, -32600]
    same([row.get("faultCode") if isinstance(row, dict) else None for row in found], codes)
    assert all(type(row["faultString"]) is str and row["faultString"] for row in found if isinstance(row, dict)), found
    same(found[5], [{"decided": False}])
    same(call("system.multicall", []), [])
    fault(-32602, "more than 1000", "system.multicall", [{"methodName": "synod.version"}] * 1001)
    return "multicall"


def validator1():
    stooges = {"moe": 1, "larry": 2, "curly": -9}
    same(call("validator1.arrayOfStructsTest", [stooges, stooges]), -18)
    counts = {"ctLeftAngleBrackets": 2, "ctRightAngleBrackets": 1, "ctAmpersands": 3}
    counts |= {"ctApostrophes": 1, "ctQuotes": 4}
    same(call("validator1.countTheEntities", "<<>&&&'\"\"\"\" ü"), counts)
    same(call("validator1.easyStructTest", stooges), -6)
    nested = {"a": {"b": [1, "2", 3.5, False, {"c": "Ü"}]}, "": []}
    same(call("validator1.echoStructTest", nested), nested)
    words = ["Wed"] + ["x"] * 150 + ["nesday"]
    same(call("validator1.moderateSizeArrayCheck", words), "Wednesday")
    same(call("validator1.nestedStructTest", {"2000": {"04": {"01": stooges}}}), -6)
    return "validator1"


def faults():
    fault(-32601, "there is no method 'nothing.at.all'", "nothing.at.all")
    fault(-32602, "is missing", "propose")
    fault(-32602, "", "propose", 1, "python fault", {}, 4)
    fault(-32602, "", "decided", 1)
    fault(-32602, "", "restart", 1)
    fault(-32602, "is not a ballot", "prepare", "five")
    fault(-32602, "parameter 3", "propose", 1, "python fault", {"deadline": 1})
    fault(114, "deadline_ms is above 60000", "propose", 1, "python fault", {"deadline_ms": 60001})
    fault(114, "the member moe is missing", "validator1.easyStructTest", {})
    fault(111, "ignored: ", "prepare", f"18446744073709551615.{PORTS[0]}", "python fault")
    fault(113, "larger than 1048576 bytes", "propose", "x" * 2**20, "python fault")
    same(call("decided", "python fault"), {"decided": False})
    CALLED.discard("nothing.at.all")
    return "faults with code and text"


def credentials():
    for who in ["", "alice:wrong@", f"bob:{SECRET}@"]:
        try:
            raise AssertionError(f"no refusal of '{who}', but {ServerProxy(f'http://{who}127.0.0.1:{GUARDED}').status()}")
        except ProtocolError as found:
            same(found.errcode, 401)
    alice = ServerProxy(f"http://alice:{SECRET}@127.0.0.1:{GUARDED}")
    same(alice.propose("by alice", "python")["value"], "by alice")
    try:
        raise AssertionError(f"no fault, but {alice.restart()}")
    except Fault as found:
        same(found.faultCode, 115)
    header = "Basic " + b64encode(f"alice:{SECRET}".encode()).decode()
    named = ServerProxy(f"http://127.0.0.1:{GUARDED}", headers=[("Authorization", header)])
    same(named.decided("python")["decided"], True)
    return "credentials"


def led():
    """Nodes start unproven: nothing that is agreed upon is served before all have met, and elected."""

    def one_leader():
        rows = [call("bully.status", on=node) for node in NODES]
        leaders = {row.get("leader") for row in rows}
        return len(leaders) == 1 and None not in leaders and all(row["votes"] for row in rows) and rows

    for row in until("a leader", one_leader):
        kinds = {"leader": int, "epoch": str, "state": str, "eligible": bool, "hears": list, "votes": bool, "length": int}
        kinds |= {"member": bool, "committed": int, "applied": int, "snapshot": int, "state_hash": str, "waiting": int}
        same({name: type(value) for name, value in row.items()}, kinds)
        assert row["leader"] in PORTS and row["epoch"].endswith(f".{row['leader']}"), row
    return "a leader"


def wrote(answer, **others):
    """A write's answer has its place in the log, and these members; gives the place."""
    place = {name: answer[name] for name in ("epoch", "counter")}
    same({name: type(value) for name, value in place.items()}, {"epoch": int, "counter": int})
    same(answer, place | others)
    return place


def put(*args, on=NODE, method="kv.put"):
    """Sets a key; gives the place and the version, which a key keeps growing from even after it was deleted."""
    answer = call(method, *args, on=on)
    same(type(answer["version"]), int)
    assert answer["version"] > 0, answer
    return wrote(answer, version=answer["version"]) | {"version": answer["version"]}


def meanwhile(method, *args):
    """Calls a method on the second node from another thread; gives what waits for the answer."""
    CALLED.add(method)
    answers = []

    def run():
        with ServerProxy(f"http://127.0.0.1:{PORTS[1]}", use_builtin_types=True) as own:
            answers.append(getattr(own, method)(*args))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait():
        thread.join(80)
        assert answers, f"{method}{args}: no answer"
        return answers[0]

    return wait


def told(events, method, *args):
    """Exactly these events are told, on and on from `since`, which is the last of the arguments; gives what is next.

    A node tells what it has applied, which may be less than what the leader has answered.
    """
    *args, since = args
    found = []
    while len(found) < len(events):
        answer = call(method, *args, since, 60000)
        same({name: type(value) for name, value in answer.items()}, {"events": list, "next": int})
        assert answer["events"] and answer["next"] >= answer["events"][-1]["counter"], answer
        found += answer["events"]
        since = answer["next"]
    same(found, events)
    return since


def quiet(since, method, *args):
    """Nothing happened after that, and that is what is said when the time is over."""
    answer = call(method, *args)
    same(answer, {"events": [], "next": answer["next"]})
    assert answer["next"] >= since, answer


def keys():
    values = [0, -(2**31), 2**31 - 1, True, False, 0.5, 1e22, "", " ", "<&>\"']]>", "a\tb\nc", "Grüße 😀", "x" * 10000]
    values += [bytes(range(256)), b"", datetime(2026, 11, 20, 9, 44, 0)]
    values += [[], [1, "two", [3.5, True]], {}, {"a": 1, "": "", "Ü": {"b": [{"c": b"\0"}]}}]
    last, rows = 0, []
    for at, value in enumerate(values):
        place = put(f"python v/{at:02}", value)
        assert place["counter"] > last, place
        last = place["counter"]
        rows.append({"key": f"python v/{at:02}", "value": value, "version": place["version"]})
        for node in NODES:
            found = call("kv.get", f"python v/{at:02}", on=node)
            same(found, {"found": True, "value": value} | place, repr(value))
    same(call("kv.list", "python v/"), {"entries": rows, "more": False})
    same(call("kv.list", "python v/", {"limit": 3}), {"entries": rows[:3], "more": True})
    after = {"after": "python v/02", "limit": 100, "deadline_ms": 20000}
    same(call("kv.list", "python v/", after), {"entries": rows[3:], "more": False})
    same(call("kv.list", "python never"), {"entries": [], "more": False})
    for value in [None, [None], {"a": None}]:
        fault(-32602, "nil", "kv.put", "python nil", value)
    same(call("kv.get", "python nil"), {"found": False})
    return f"keys: {len(values)} values of all types, there and back"


def versions():
    key = "python Ü/2"
    place = put(key, 0, "one", method="kv.cas")
    first = place["version"]
    fault(116, f"has version {first}, not 0", "kv.cas", key, 0, "two")
    fault(116, f"has version {first}, not {first + 7}", "kv.cas", key, first + 7, "two")
    fault(116, "does not exist", "kv.cas", "python never", 1, "two")
    same(call("kv.get", key), {"found": True, "value": "one"} | place)
    same(put(key, first, 2, method="kv.cas", on=NODES[1])["version"], first + 1)
    same(put(key, [3])["version"], first + 2)
    wrote(call("kv.delete", key), version=first + 2)
    wrote(call("kv.delete", key))
    same(call("kv.get", key), {"found": False})
    assert put(key, "anew")["version"] > first + 2
    return "versions and compare-and-set"


def local_reads():
    place = put("python local", 1.5)

    def near(node):
        found = call("kv.get", "python local", {"read": "local"}, on=node)
        freshness = {name: found.pop(name) for name in ("applied", "behind")}
        same({name: type(value) for name, value in freshness.items()}, {"applied": int, "behind": int})
        return freshness["applied"] >= place["counter"] and found

    for node in NODES:
        same(until("the entry", lambda: near(node)), {"found": True, "value": 1.5} | place)
    same(call("kv.get", "python local", {"read": "linearizable"}), {"found": True, "value": 1.5} | place)
    made = wrote(call("files.create", "python local"), message="CREATED FILE 'python local'")
    found = until("the file", lambda: perhaps("files.read", "python local", {"read": "local"}))
    assert found["applied"] >= made["counter"] and found["behind"] >= 0, found
    listed = call("kv.list", "python local", {"read": "local"})
    assert listed["applied"] >= place["counter"] and listed["behind"] >= 0, listed
    fault(-32602, "read", "kv.get", "python local", {"read": "eventual"})
    fault(-32602, "reed", "kv.get", "python local", {"reed": "local"})
    return "local reads"


def perhaps(*args):
    """A read of something that may not be here yet."""
    try:
        return call(*args)
    except Fault as found:
        same(found.faultCode, 117)
        return None


def requests():
    first = call("kv.put", "python once", 1, {"request": "python/2"})
    same(call("kv.put", "python once", 1, {"request": "python/2"}, on=NODES[2]), first)
    same(call("kv.put", "python once", 1, {"request": "python/2", "deadline_ms": 20000}), first)
    same(call("kv.get", "python once"), {"found": True, "value": 1} | first)
    fault(122, "python/2 was another call", "kv.put", "python once", 2, {"request": "python/2"})
    same(call("synod.outcome", "python/2"), {"applied": True, "answer": first})
    same(call("synod.outcome", "python/3"), {"applied": False, "last": 2})
    same(call("synod.outcome", "python never/1"), {"applied": False})
    fault(117, "no post 2000000000", "board.strong.modify", 2000000000, "x", {"request": "python/3"})
    refused = call("synod.outcome", "python/3", {"deadline_ms": 20000})
    text = refused.pop("fault_string")
    same(refused, {"applied": True, "fault_code": 117})
    assert "no post 2000000000" in text, text
    fault(121, "comes after python/3", "kv.put", "python once", 1, {"request": "python/2"})
    same(call("synod.outcome", "python/2"), {"applied": False, "last": 3})
    for id in ["", "python", "python/", "/1", "python/-1", "python/x", f"python/{2**64}"]:
        fault(114, "client/sequence", "kv.put", "python once", 3, {"request": id})
    fault(114, "client/sequence", "synod.outcome", "python")
    same(call("kv.get", "python once"), {"found": True, "value": 1} | first)
    return "request ids: applied once"


def watching():
    since = call("kv.put", "python w/other", 0)["counter"]
    quiet(since, "kv.watch", "python w/a", since, 0)
    waits = meanwhile("kv.watch", "python w/a", since, 60000)
    one = {"what": "put", "key": "python w/a1", "value": {"x": [b"\0"]}} | call("kv.put", "python w/a1", {"x": [b"\0"]})
    found = waits()
    same(found, {"events": [one], "next": found["next"]})
    call("kv.put", "python w/b", 1)
    two = {"what": "put", "key": "python w/a2", "value": "2"} | call("kv.put", "python w/a2", "2")
    three = {"what": "deleted", "key": "python w/a1"} | call("kv.delete", "python w/a1")
    last = told([one, two, three], "kv.watch", "python w/a", since)
    told([two, three], "kv.watch", "python w/a", found["next"])
    quiet(last, "kv.watch", "python w/a", last, 30)
    fault(114, "timeout_ms is above 60000", "kv.watch", "python w/a", 0, 60001)
    fault(114, "timeout_ms is above 60000", "board.strong.watch", 0, 60001)
    return "watches"


def forgetting():
    """What a node keeps for watchers is bounded: whoever asks for more than that is told to list anew."""
    large = "x" * 1000000
    for _ in range(9):
        last = call("kv.put", "python large", large, {"deadline_ms": 60000})
    until("the last of them", lambda: call("bully.status")["applied"] >= last["counter"])
    fault(123, "list anew", "kv.watch", "", 0, 0)
    gone = {"what": "deleted", "key": "python large"} | call("kv.delete", "python large")
    told([gone], "kv.watch", "python large", last["counter"])
    return "what is not kept"


def board():
    posted = call("board.strong.post", "first\n<&>")
    first = posted["id"]
    place = wrote(posted, id=first)
    other = call("board.strong.post", "Grüße 😀", on=NODES[1])
    second = other["id"]
    assert type(second) is int and second > first, (first, second)
    rows = [{"id": first, "text": "first\n<&>", "author": PORTS[0]} | place]
    rows += [{"id": second, "text": "Grüße 😀", "author": PORTS[1]} | wrote(other, id=second)]
    for node in NODES:
        same([row for row in call("board.strong.list", on=node) if row["id"] >= first], rows)
    same(call("board.strong.list", {"after": str(first)}), rows[1:])
    same(call("board.strong.list", {"after": str(first - 1), "limit": 1}), rows[:1])
    fault(114, "the id of a post", "board.strong.list", {"after": "first"})
    changed = wrote(call("board.strong.modify", first, "changed", on=NODES[2]), id=first)
    gone = wrote(call("board.strong.delete", second), id=second)
    fault(117, f"no post {second}", "board.strong.delete", second)
    fault(117, f"no post {second}", "board.strong.modify", second, "x")
    (row,) = call("board.strong.list", {"after": str(first - 1)})
    same((row["id"], row["text"], row["author"]), (first, "changed", PORTS[0]))
    assert type(call("board.strong.list", {"read": "local"})) is list
    events = [{"what": "posted"} | row for row in rows]
    events += [{"what": "modified", "id": first, "author": PORTS[2], "text": "changed"} | changed]
    events += [{"what": "deleted", "id": second, "author": PORTS[0]} | gone]
    since = told(events, "board.strong.watch", place["counter"] - 1)
    waits = meanwhile("board.strong.watch", since, 60000)
    third = call("board.strong.post", "third")
    assert third["id"] > second, third
    same(waits()["events"], [{"what": "posted", "author": PORTS[0], "text": "third"} | third])
    told([{"what": "posted", "author": PORTS[0], "text": "third"} | third], "board.strong.watch", since)
    fault(113, "larger than 65536", "board.strong.post", "x" * 65537)
    return "the board"


def files():
    name = "python Ü.txt"
    made = wrote(call("files.create", name), message=f"CREATED FILE '{name}'")
    fault(118, f"FILE '{name}' ALREADY EXISTS", "files.create", name)
    one = wrote(call("files.append", name, "Lorem <ipsum>"), message=f"WROTE 'Lorem <ipsum>' TO FILE '{name}'")
    two = wrote(call("files.append", name, "", on=NODES[1]), message=f"WROTE '' TO FILE '{name}'")
    whole = {"name": name, "text": "Lorem <ipsum>\n", "lines": 2} | two
    for node in NODES:
        same(call("files.read", name, on=node), whole)
    (row,) = [row for row in call("files.list", {"deadline_ms": 20000}) if row["name"] == name]
    same(row, {"name": name, "lines": 2, "bytes": 13} | two)
    gone = wrote(call("files.delete", name), message=f"DELETED FILE '{name}'")
    for method, *args in [("read",), ("append", "x"), ("delete",)]:
        fault(117, f"FILE '{name}' DOESN'T EXIST", f"files.{method}", name, *args)
    assert name not in [row["name"] for row in call("files.list")]
    commands = [("create", made), ("append", one), ("append", two), ("delete", gone)]
    rests = ["", " Lorem <ipsum>", " ", ""]
    lines = [f"{word} {name}{rest} {at['epoch']} {at['counter']}" for (word, at), rest in zip(commands, rests)]
    for since, rest in [(made["counter"] - 1, lines), (two["counter"], lines[3:]), (gone["counter"], [])]:
        found = call("files.history", since, {"read": "linearizable"})
        same(found, {"lines": rest, "next": found["next"]})
        assert found["next"] >= gone["counter"], found
    same(call("files.history")["lines"][-4:], lines)
    for bad in ["", "a\nb"]:
        fault(114, "the name of a file is empty or has control characters", "files.create", bad)
    fault(113, "the name of a file of 256 bytes", "files.create", "x" * 256)
    # A name is a key of a map: nothing is opened, and none of these is special.
    for odd in ["../../escape", "/etc/passwd", ".."]:
        wrote(call("files.create", odd), message=f"CREATED FILE '{odd}'")
        same(call("files.read", odd)["text"], "")
        wrote(call("files.delete", odd), message=f"DELETED FILE '{odd}'")
    return "files"


def locks():
    name = "python lock"

    def row():
        (found,) = [row for row in call("lock.list") if row["name"] == name]
        return found

    held = call("lock.acquire", name, "ann", 60000)
    token = held["token"]
    assert type(token) is int, held
    same(held, {"granted": True, "token": token})
    same(call("lock.acquire", name, "bob", 60000, 0), {"granted": False})
    same(call("lock.acquire", name, "bob", 60000, 1), {"granted": False})
    same(call("lock.acquire", name, "ann", 60000, 0, {"deadline_ms": 20000}), held)
    same(call("lock.renew", name, "ann"), held)
    same(call("lock.renew", name, "ann", token, 50000), held)
    fault(120, f"'bob' does not hold lock '{name}': 'ann' does, with token {token}", "lock.renew", name, "bob")
    fault(120, "'ann' does not hold", "lock.release", name, "ann", token + 1)
    fault(120, "and nobody does", "lock.release", "python never", "ann")
    found = row()
    left = found.pop("expires_in_ms")
    assert type(left) is int and 0 < left <= 50000, left
    same(found, {"name": name, "owner": "ann", "token": token, "queue": []})
    fenced = {"token": token, "lock": name}
    put("python fenced", 1, fenced)
    put("python fenced", 2, {"token": token})
    other = fenced | {"lock": "other"}
    fault(119, f"token {token} does not hold lock 'other'", "kv.put", "python fenced", 3, other)
    fault(114, "lock without a token", "kv.put", "python fenced", 3, {"lock": name})
    for method, *args in [("board.strong.post", "x"), ("lock.release", name, "ann", token)]:
        fault(114, "the option token is for writes of kv and files", method, *args, fenced)
    # Two wait, in the order in which they came; letting go, or leaving the queue, brings on the next.
    bob = meanwhile("lock.acquire", name, "bob", 60000, 60000, {"deadline_ms": 60000})
    until("bob in the queue", lambda: row()["queue"] == ["bob"])
    cid = meanwhile("lock.acquire", name, "cid", 60000, 60000)
    until("cid in the queue", lambda: row()["queue"] == ["bob", "cid"])
    wrote(call("lock.release", name, "cid"), released=True)
    same(cid(), {"granted": False})
    wrote(call("lock.release", name, "ann", token), released=True)
    newer = bob()
    assert newer["token"] > token, newer
    same(newer, {"granted": True, "token": newer["token"]})
    text = f"token {token} does not hold lock '{name}', token {newer['token']} does"
    for method, *args in [("kv.put", 3), ("kv.cas", 2, 3), ("kv.delete",), ("files.create",)]:
        fault(119, text, method, "python fenced", *args, fenced)
    same(call("kv.get", "python fenced")["value"], 2)
    wrote(call("lock.release", name, "bob", newer["token"], {"request": "python lock/1"}), released=True)
    # A grant ends by itself.
    short = call("lock.acquire", name, "ann", 1)["token"]
    last = call("lock.acquire", name, "bob", 60000, 60000)
    assert last["granted"] and last["token"] > short > newer["token"], (last, short)
    fault(119, f"token {short} does not hold", "files.create", "python late", {"token": short})
    wrote(call("lock.release", name, "bob"), released=True)
    fault(114, "a time to live of 0 ms is not between 1 and 86400000", "lock.acquire", name, "ann", 0)
    fault(114, "a time to wait of 86400001 ms", "lock.acquire", name, "ann", 1, 86400001)
    fault(114, "the name of an owner is empty", "lock.acquire", name, "", 1)
    same([row for row in call("lock.list", {"read": "linearizable"}) if row["name"] == name], [])
    return "locks, queues and tokens"


def options():
    writes = [("kv.put", 1), ("kv.delete",), ("kv.cas", 0, 1), ("board.strong.post",), ("files.create",), ("files.delete",)]
    writes += [("files.append", "x"), ("lock.acquire", "ann", 1, 0), ("lock.release", "ann", 1), ("lock.renew", "ann", 1, 1)]
    for method, *args in writes + [("kv.get",), ("kv.list",), ("files.read",)]:
        fault(114, "deadline_ms is above 60000", method, "python option", *args, {"deadline_ms": 60001})
        fault(-32602, "deadline", method, "python option", *args, {"deadline": 1})
    for method in ["board.strong.list", "files.list", "lock.list"]:
        fault(114, "deadline_ms is above 60000", method, {"deadline_ms": 60001})
    fault(113, "a key of 1025 bytes is larger than 1024", "kv.put", "x" * 1025, 1)
    fault(113, "larger than 1048576", "kv.put", "python option", "x" * 2**20)
    for bad in ["", "a\tb"]:
        fault(114, "a key is empty or has control characters", "kv.put", bad, 1)
    fault(114, "the name of a client", "kv.put", "python option", 1, {"request": "a\tb/1"})
    same(call("kv.get", "python option"), {"found": False})
    return "options"


def members():
    rows = [{"node": port, "address": f"127.0.0.1:{port}"} for port in sorted(PORTS)]
    same(call("cluster.members"), {"members": rows, "changing": False})
    fault(124, "is a member already", "cluster.add", PORTS[1], "127.0.0.1:7")
    fault(124, "is another member's", "cluster.add", 7, f"127.0.0.1:{PORTS[1]}")
    for bad in ["", "here", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "::1:7", "a b:7", "x" * 255 + ":7"]:
        fault(114, "the address is not HOST:PORT", "cluster.add", 7, bad)
    fault(125, "7 is no member", "cluster.remove", 7)
    fault(-32602, "not a node id", "cluster.remove", 0)
    fault(128, "does not answer the leader", "cluster.add", 7, "127.0.0.1:1")
    same(call("cluster.members", {"read": "local"})["members"], rows)
    return "members"


def eventual():
    posted = call("board.eventual.post", "first\n<&>")
    id, clock = posted["id"], posted["clock"]
    same(posted, {"id": f"{clock}.{PORTS[0]}", "text": "first\n<&>", "author": PORTS[0], "clock": clock, "server": PORTS[0]})
    since = call("board.eventual.status")["changes"]
    for node in NODES:
        until("the post everywhere", lambda: posted in call("board.eventual.list", on=node))
    changed = call("board.eventual.modify", id, "Grüße 😀", on=NODES[2])
    assert changed["clock"] > clock, changed
    same(changed, posted | {"text": "Grüße 😀", "clock": changed["clock"], "server": PORTS[2]})
    waits = meanwhile("board.eventual.watch", since, 60000)
    (event,) = waits()["events"]
    same(event, changed | {"what": "modified", "counter": since + 1})
    gone = call("board.eventual.delete", id)
    same(gone, {"id": id, "author": PORTS[0], "clock": gone["clock"], "server": PORTS[0]})
    assert gone["clock"] > changed["clock"], gone
    same([row for row in call("board.eventual.list") if row["id"] == id], [])
    fault(117, f"no entry {id}", "board.eventual.modify", id, "x")
    fault(117, "no entry 1.1", "board.eventual.delete", "1.1")
    fault(114, "clock.server", "board.eventual.delete", "first")
    fault(-32602, "", "board.eventual.delete", 7)
    fault(113, "65537 bytes", "board.eventual.post", "x" * 65537)
    fault(114, "timeout_ms is above 60000", "board.eventual.watch", 0, 60001)
    fault(123, "list, and go on", "board.eventual.watch", 10**9, 0)
    two = [call("board.eventual.post", text) for text in ("one", "two")]
    same(call("board.eventual.list", {"after": two[0]["id"]}), two[1:])
    same(len(call("board.eventual.list", {"limit": 1})), 1)
    until("equal boards", lambda: len({node.board.eventual.status()["digest"] for node in NODES}) == 1)
    until("all of it everywhere", lambda: call("board.eventual.status")["pending"] == 0)
    status = call("board.eventual.status")
    assert status["versions"][str(PORTS[0])] == two[1]["clock"] <= status["clock"], status
    same(status["astray"], False)
    return "the eventual board"


def registers():
    same(call("register.read", "python never"), {"found": False})
    last = 0
    for value in [5, "Grüße", "", [1, {"a": b"\0"}], True, 0.5]:
        written = call("register.write", "python ✓", value)
        counter, node = written["timestamp"].split(".")
        assert int(counter) > last and int(node) == PORTS[0], written
        last = int(counter)
        for node in NODES:
            same(call("register.read", "python ✓", on=node), {"found": True, "value": value} | written)
    call("register.write", "", 1, {"deadline_ms": 60000})
    call("register.write", "x" * 512, 1)
    fault(113, "513 bytes", "register.write", "x" * 513, 1)
    fault(113, "513 bytes", "register.read", "x" * 513)
    fault(-32602, "nil", "register.write", "python nil", None)
    fault(114, "deadline_ms", "register.read", "x", {"deadline_ms": 60001})
    usual = {"read": 2, "write": 2, "nodes": 3, "intersect": True}
    same(call("register.quorum"), usual)
    same(call("register.quorum", 1, 1), {"read": 1, "write": 1, "nodes": 3, "intersect": False})
    fault(114, "1 to 3 nodes", "register.quorum", 0, 4)
    fault(-32602, "both", "register.quorum", 2)
    same(call("register.quorum", 2, 2), usual)
    return "quorum registers"
def overlays():
    """A hash table, flooding and an index: keys of any text, and the route in every answer."""
    value = {"x": [1, "two", 0.5, True, b"\0"]}
    until("one ring", lambda: {point["node"] for point in call("dht.ring")["points"]} == set(PORTS))
    for overlay in ("dht", "flood", "index"):
        key = f"python Ü {overlay}"
        answer = call(f"{overlay}.set", key, value)
        same(answer["hops"][0], PORTS[0])
        for port, node in zip(PORTS, NODES):
            got = call(f"{overlay}.get", key, on=node)
            same({k: got[k] for k in ("found", "value")}, {"found": True, "value": value})
            assert got["hops"][0] == port and set(got["hops"]) <= set(PORTS), got
        same(call(f"{overlay}.get", "python never")["found"], False)
        call(f"{overlay}.remove", key, on=NODES[1])
        same(call(f"{overlay}.get", key)["found"], False)
        fault(140, "nothing was changed", f"{overlay}.remove", key)
        fault(144, "at most 512 bytes", f"{overlay}.set", "x" * 513, 1)
        fault(113, "larger than 1048576", f"{overlay}.set", "x", "x" * 2**20)
        fault(114, "above 60000", f"{overlay}.get", "x", {"deadline_ms": 60001})
        fault(-32602, "nil", f"{overlay}.set", "x", None)
        call(f"{overlay}.set", "k" * 512, "")
        same(call(f"{overlay}.get", "k" * 512)["value"], "")
    same(call("dht.ring")["state"], "joined")
    for finger in call("dht.fingers"):
        same(sorted(finger), ["at", "exponent", "node", "position", "start"])
    same(call("dht.leave")["hops"], [PORTS[0]])
    same(call("dht.ring")["state"], "left")
    same(call("dht.get", "k" * 512)["value"], "")
    same(call("dht.join")["copies"], 0)
    same(call("dht.ring")["state"], "joined")
    return "overlays"


def messages():
    """What nodes say to each other: a client that says it wrongly gets a fault, and changes nothing."""
    families = ("log.", "bully.", "eventual.", "register.")
    names = [name for name in call("system.listMethods") if name.startswith(families) or name.endswith(".message")]
    own = ("bully.status", "bully.elect", "register.read", "register.write", "register.quorum")
    names = [name for name in names if name not in own]
    same(len(names), 33)
    before = call("bully.status")
    envelope = {"from": PORTS[1], "to": PORTS[0], "generation": call("status")["generation"]}
    alice = ServerProxy(f"http://alice:{SECRET}@127.0.0.1:{GUARDED}")
    for name in names:
        fault(-32602, "is missing", name)
        fault(-32602, "parameter 2", name, {})
        fault(-32602, "member from is missing", name, {}, {})
        fault(-32602, "expected a struct", name, 5, envelope)
        fault(-32602, "", name, {}, envelope, 1)
        if name != "log.blank":
            fault(-32602, f"{name} lacks a member, or has one that cannot be meant", name, {}, envelope)
    fault(111, "the message is for", "log.blank", {}, envelope | {"to": PORTS[1]})
    try:
        raise AssertionError(f"no fault, but {alice.log.blank({}, {'from': 1, 'to': 1, 'generation': 1})}")
    except Fault as found:
        same(found.faultCode, 115)
    same({k: call("bully.status")[k] for k in ("leader", "epoch")}, {k: before[k] for k in ("leader", "epoch")})
    fault(-32602, "", "bully.status", 1)
    elected = call("bully.elect")
    assert elected.keys() - {"leader", "epoch"} == before.keys() - {"leader", "epoch"}, elected
    led()
    put("python elected", 1, {"deadline_ms": 60000})
    return "the nodes' own messages"


def restarting():
    before = call("status")["generation"]
    for port, node in zip(PORTS, NODES):
        answer = call("restart", on=node)
        assert type(answer["generation"]) is int and answer["generation"] > before, answer
        same(answer["message"], f"Node on port {port} has been restarted.")
    until("one generation", lambda: len({node.status()["generation"] for node in NODES}) == 1)
    same(call("decided", "python 0"), {"decided": False})
    return "restart"


def everything():
    same(sorted(CALLED), call("system.listMethods"), "the methods that were called")
    return f"all {len(CALLED)} methods"


PARTS = [values, own_types, large_ints, nil, phases, learning, gates, links, introspection, about, multicall, validator1, faults]
PARTS += [led, keys, versions, local_reads, requests, watching, forgetting, board, files, locks, options]
PARTS += [eventual, registers, members, overlays, messages]
for part in PARTS + [credentials, restarting, everything]:
    print(part(), flush=True)
