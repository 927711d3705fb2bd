"""Python's own xmlrpc.client against five lab nodes, whose ports are the arguments.

Standard library only. Ends with 0 and the line "ok" if everything is as the interface says.
"""

import sys
import time
from datetime import datetime
from xmlrpc.client import Binary, DateTime, Fault, MultiCall, ServerProxy

PORTS = [int(word) for word in sys.argv[1:]]
NODES = [ServerProxy(f"http://127.0.0.1:{port}") for port in PORTS]


def fault_of(call, *args):
    """The fault that a call must end with."""
    try:
        result = call(*args)
    except Fault as fault:
        return fault
    raise AssertionError(f"no fault, but {result!r}")


def until(what, look):
    """Looks until something is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.003)
    raise AssertionError(f"waited in vain for {what}")


def all_learn(instance, value):
    for node in NODES:
        answer = until(f"a decision of {instance}", lambda: (a := node.decided(instance))["decided"] and a)
        assert answer["value"] == value and type(answer["value"]) is type(value), answer


def proposing():
    first, second = NODES[0], NODES[1]
    assert first.decided() == {"decided": False}
    answer = first.propose(5)
    assert answer == {
        "instance": "default",
        "value": 5,
        "outcome": "yours",
        "ballot": f"1.{PORTS[0]}",
        "attempts": 1,
        "message": "Value '5' has been updated and committed.",
    }, answer
    answer = second.propose("6")
    assert (answer["value"], answer["outcome"]) == (5, "another's"), answer
    all_learn("default", 5)
    answer = second.propose("with options", "named", {"deadline_ms": 20000})
    assert answer["outcome"] == "yours", answer


def types():
    values = [
        0,
        -1,
        2**31 - 1,
        True,
        False,
        1.5,
        "",
        " ",
        "5",
        "two words",
        "<&>",
        "Grüße 😀",
        "line\nfeed",
        [],
        [1, "two", [3.0]],
        {},
        {"a": 1, "b": {"c": []}},
    ]
    for at, value in enumerate(values):
        answer = NODES[at % 5].propose(value, f"type {at}")
        assert answer["value"] == value and type(answer["value"]) is type(value), answer
        all_learn(f"type {at}", value)
    # xmlrpc.client has types of its own for these.
    answer = NODES[0].propose(Binary(bytes(range(256))), "bytes")
    assert answer["value"] == Binary(bytes(range(256))) and isinstance(answer["value"], Binary), answer
    moment = DateTime(datetime(2026, 11, 20, 9, 44, 0))
    answer = NODES[0].propose(moment, "moment")
    assert answer["value"] == moment and isinstance(answer["value"], DateTime), answer
    builtin = ServerProxy(f"http://127.0.0.1:{PORTS[1]}", use_builtin_types=True)
    for instance, value in [("bytes", bytes(range(256))), ("moment", datetime(2026, 11, 20, 9, 44, 0))]:
        answer = until(instance, lambda: (a := builtin.decided(instance))["decided"] and a)
        assert answer["value"] == value and type(answer["value"]) is type(value), answer



def refusals():
    nilly = ServerProxy(f"http://127.0.0.1:{PORTS[0]}", allow_none=True)
    for value in [None, [None], {"a": None}]:
        assert fault_of(nilly.propose, value, "nil").faultCode == -32602
    assert fault_of(NODES[0].nothing).faultCode == -32601
    assert fault_of(NODES[0].propose).faultCode == -32602
    assert fault_of(NODES[0].propose, 1, "a", {}, 4).faultCode == -32602
    assert fault_of(NODES[0].decided, 1).faultCode == -32602
    fault = fault_of(NODES[0].propose, 1, "a", {"deadline_ms": 60001})
    assert fault.faultCode == 114 and "deadline_ms" in fault.faultString, fault
    assert not NODES[0].decided("nil")["decided"]


def phases_by_hand():
    for node in NODES[:3]:
        answer = node.prepare("7.0", "hand")
        assert answer == {"promised": True, "promised_ballot": "7.0"}, answer
    for node in NODES[:3]:
        answer = node.accept(7, "by hand", "hand")
        assert answer == {"accepted": True, "promised_ballot": "7.0"}, answer
    answer = NODES[0].prepare({"round": 6, "node": 0}, "hand")
    assert (answer["promised"], answer["promised_ballot"]) == (False, "7.0"), answer
    answer = NODES[0].prepare("8.0", "hand")
    assert answer["promised"] and answer["accepted_ballot"] == "7.0" and answer["accepted_value"] == "by hand", answer
    for node in NODES:
        assert node.commit(7, "by hand", "hand") == {"committed": True}
    all_learn("hand", "by hand")
    assert fault_of(NODES[0].prepare, "18446744073709551615.8000", "hand too").faultCode == 111
    assert NODES[0].propose("good", "hand too")["outcome"] == "yours"


def introspection():
    first = NODES[0]
    version = first.synod.version()
    assert isinstance(version["synod"], str) and isinstance(version["protocol"], int), version
    faults = first.synod.faults()
    assert {row["code"] for row in faults} >= {100, 101, 102, 103, 110}, faults
    assert all(isinstance(row["definite"], bool) and row["name"] and row["meaning"] for row in faults), faults
    names = first.system.listMethods()
    assert {"propose", "decided", "prepare", "accept", "commit", "restart", "status"} <= set(names), names
    for name in names:
        assert first.system.methodHelp(name), name
        assert all(isinstance(kind, str) for row in first.system.methodSignature(name) for kind in row), name
    status = first.status()
    assert status["node"] == PORTS[0] and status["mode"] == "lab", status
    assert [member["node"] for member in status["members"]] == PORTS, status
    (row,) = first.status("default")["instances"]
    assert row["decided"] and row["value"] == 5 and row["instance"] == "default", row


def many_at_once():
    batch = MultiCall(NODES[2])
    for number in range(50):
        batch.propose(number, f"batch {number}")
    batch.status()
    answers = list(batch())
    assert [answer["value"] for answer in answers[:50]] == list(range(50))
    assert answers[50]["node"] == PORTS[2]
    batch = MultiCall(NODES[2])
    batch.decided("batch 7")
    batch.nothing()
    batch.decided("batch 8")
    answers = batch()
    assert answers[0]["value"] == 7 and answers[2]["value"] == 8
    assert fault_of(lambda: answers[1]).faultCode == -32601


def restarting():
    before = NODES[0].status()["generation"]
    for port, node in zip(PORTS, NODES):
        answer = node.restart()
        assert answer["message"] == f"Node on port {port} has been restarted.", answer
        assert answer["generation"] > before, answer
    until("one generation", lambda: len({node.status()["generation"] for node in NODES}) == 1)
    for node in NODES:
        assert node.decided() == {"decided": False}
        assert node.status()["instances"] == []
    assert NODES[4].propose(6)["outcome"] == "yours"
    all_learn("default", 6)


for part in [proposing, types, refusals, phases_by_hand, introspection, many_at_once, restarting]:
    part()
print("ok")
