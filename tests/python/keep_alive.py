"""Plain http.client against five lab nodes, whose ports are the arguments: many calls on one connection.

Standard library only. Ends with 0 and the line "ok" if everything is as the interface says.
"""

import sys
from http.client import HTTPConnection
from xmlrpc.client import dumps, loads

PORT = int(sys.argv[1])
connection = HTTPConnection("127.0.0.1", PORT, timeout=60)
connection.connect()
OWN = connection.sock.getsockname()


def call(method, *args):
    """One call, and the connection must be the same as before."""
    connection.request("POST", "/RPC2", dumps(args, method), {"Content-Type": "text/xml"})
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200, response.status
    assert response.getheader("Content-Type", "").startswith("text/xml"), response.getheaders()
    assert int(response.getheader("Content-Length")) == len(body), response.getheaders()
    assert connection.sock is not None and connection.sock.getsockname() == OWN, "the connection was closed"
    (result,), _ = loads(body)
    return result


for number in range(100):
    answer = call("propose", number, f"kept {number}")
    assert (answer["value"], answer["outcome"]) == (number, "yours"), answer
    assert call("decided", f"kept {number}")["value"] == number

# A fault and a page of text end no connection either.
try:
    call("nothing")
except Exception as fault:
    assert fault.faultCode == -32601, fault
connection.request("GET", "/")
response = connection.getresponse()
text = response.read().decode()
assert response.status == 200 and f"node {PORT}" in text and "ServerProxy" in text, text
connection.request("GET", "/nothing")
response = connection.getresponse()
response.read()
assert response.status == 404, response.status
assert call("decided", "kept 99")["value"] == 99

# A body in two pieces, and one in chunks.
body = dumps(("in chunks", "chunks"), "propose").encode()
connection.request("POST", "/RPC2", iter([body[:50], body[50:]]), {"Content-Type": "text/xml"}, encode_chunked=True)
response = connection.getresponse()
(result,), _ = loads(response.read())
assert response.status == 200 and result["value"] == "in chunks", result
print("ok")
