"""Times xmlrpc.client on the document on stdin: prints the nanoseconds of one loads and of one dumps.

Run by benches/codec.rs. The best of several rounds counts, as there.
"""

import sys
import timeit
import xmlrpc.client


def nanoseconds(work):
    timer = timeit.Timer(work)
    number, _ = timer.autorange()
    number = max(1, number // 4)
    return min(timer.repeat(12, number)) / number * 1e9


document = sys.stdin.buffer.read()
params, method = xmlrpc.client.loads(document)


def loads():
    return xmlrpc.client.loads(document)


def dumps():
    if method is None:
        return xmlrpc.client.dumps(params, methodresponse=True)
    return xmlrpc.client.dumps(params, method)


assert xmlrpc.client.loads(dumps()) == (params, method)
print(nanoseconds(loads), nanoseconds(dumps))
