"""Python's xmlrpc.client calls every method of a node, and compares results and types exactly.

Arguments: the ports of three lab nodes, the port of a node with credentials, and the secret that alice has there.
Standard library only. Prints a line for each thing that was checked; ends with 0 if all was as it should be.
"""

import sys
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
        raise AssertionError(f"{method}{args}: no fault, but {result!r}")


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


PARTS = [values, own_types, large_ints, nil, phases, learning, gates, introspection, about, multicall, validator1, faults]
for part in PARTS + [credentials, restarting, everything]:
    print(part(), flush=True)
