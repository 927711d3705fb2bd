"""One node of naive Paxos over Python's stock XML-RPC: what `cargo bench --bench propose` measures Synod against.

It is Paxos as a student would write it in an afternoon, and it is correct as long as no process stops: the state is in
dicts, and the decided values go to text files that nobody syncs. `--threads` asks the peers at the same time instead
of one after the other, `--keep-alive` speaks HTTP/1.1 instead of the stock server's HTTP/1.0; the benchmark takes
whichever combination is the quickest. Proxies are kept and used again in any case.
"""

import argparse
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from socketserver import ThreadingMixIn
from urllib.parse import quote
from xmlrpc.client import Error, ServerProxy
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

NOTHING = [0, 0]  # the ballot below all ballots; a ballot is [round, node]


class KeepAliveHandler(SimpleXMLRPCRequestHandler):
    protocol_version = "HTTP/1.1"


class Server(ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True
    request_queue_size = 128  # the stock 5 would drop connects, and each costs its client a second


class Node:
    def __init__(self, port, members, data, in_threads):
        self.id = port
        self.proxies = {member: [] for member in members if member != port}
        self.majority = len(members) // 2 + 1
        self.data = data
        self.pool = ThreadPoolExecutor(64) if in_threads else None
        self.lock = threading.Lock()
        self.promised = {}  # instance -> ballot
        self.accepted = {}  # instance -> (ballot, value)
        self.chosen = {}  # instance -> value

    def prepare(self, instance, ballot):
        with self.lock:
            promised = self.promised.get(instance, NOTHING)
            ok = ballot > promised
            if ok:
                promised = self.promised[instance] = ballot
            accepted, value = self.accepted.get(instance, (NOTHING, 0))
            return {"ok": ok, "promised": promised, "accepted": accepted, "value": value}

    def accept(self, instance, ballot, value):
        with self.lock:
            promised = self.promised.get(instance, NOTHING)
            ok = ballot >= promised
            if ok:
                promised = self.promised[instance] = ballot
                self.accepted[instance] = (ballot, value)
            return {"ok": ok, "promised": promised}

    def commit(self, instance, value):
        with self.lock:
            known = instance in self.chosen
            self.chosen[instance] = value
        if not known:
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            name = quote(instance, safe="") + ".txt"
            with open(self.data / name, "w", encoding="utf-8") as file:
                file.write(f"{now} - Set value to: {value}\n")
        return {"ok": True}

    def decided(self, instance):
        with self.lock:
            known = instance in self.chosen
            return {"decided": True, "value": self.chosen[instance]} if known else {"decided": False}

    def propose(self, value, instance):
        round_number = 0
        while True:
            # Two calls here may use the same ballot: a majority promises it to one of them only.
            round_number += 1
            ballot = [round_number, self.id]
            answers = self.ask_all("prepare", instance, ballot)
            promises = [answer for answer in answers if answer["ok"]]
            if len(promises) >= self.majority:
                newest = max(promises, key=lambda answer: answer["accepted"])
                mine = newest["accepted"] == NOTHING
                choice = value if mine else newest["value"]
                answers = self.ask_all("accept", instance, ballot, choice)
                if sum(answer["ok"] for answer in answers) >= self.majority:
                    self.ask_all("commit", instance, choice)
                    # As strict as it can be: the value of another call counts as another's even if it is the same.
                    return {"value": choice, "outcome": "yours" if mine else "another's"}
            round_number = max([round_number] + [answer["promised"][0] for answer in answers])
            time.sleep(random.uniform(0, 0.05))

    def ask_all(self, method, *params):
        """The answers of all nodes that answered, this one's first."""
        if self.pool:
            asked = [self.pool.submit(self.ask, peer, method, params) for peer in self.proxies]
            answers = [getattr(self, method)(*params)] + [future.result() for future in asked]
        else:
            answers = [getattr(self, method)(*params)] + [self.ask(peer, method, params) for peer in self.proxies]
        return [answer for answer in answers if answer is not None]

    def ask(self, peer, method, params):
        # A proxy is not for two threads at once, so each waits in its peer's list until somebody takes it.
        idle = self.proxies[peer]
        try:
            proxy = idle.pop()
        except IndexError:
            proxy = ServerProxy(f"http://127.0.0.1:{peer}")
        try:
            answer = getattr(proxy, method)(*params)
        except (OSError, HTTPException, Error):
            return None
        idle.append(proxy)
        return answer


def leave_with_the_benchmark():
    sys.stdin.read()
    os._exit(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--member", type=int, action="append", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("--keep-alive", action="store_true")
    args = parser.parse_args()
    args.data.mkdir(parents=True, exist_ok=True)
    threading.Thread(target=leave_with_the_benchmark, daemon=True).start()
    handler = KeepAliveHandler if args.keep_alive else SimpleXMLRPCRequestHandler
    server = Server(("127.0.0.1", args.port), requestHandler=handler, logRequests=False)
    node = Node(args.port, args.member, args.data, args.threads)
    for method in [node.prepare, node.accept, node.commit, node.decided, node.propose]:
        server.register_function(method)
    server.serve_forever()


if __name__ == "__main__":
    main()
