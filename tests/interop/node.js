// Node's xmlrpc package calls every method of a node, and compares results and types exactly.
//
// Arguments: the ports of three lab nodes, the port of a node with credentials, and the secret that alice has there.
// Needs the package xmlrpc, found by NODE_PATH. Prints a line for each thing that was checked; ends with 0 if all was as
// it should be.
"use strict";

const assert = require("node:assert/strict");
const xmlrpc = require("xmlrpc");
const CustomType = require("xmlrpc/lib/customtype");

const PORTS = process.argv.slice(2, 5).map(Number);
const [GUARDED, SECRET] = [Number(process.argv[5]), process.argv[6]];
const NODES = PORTS.map((port) => xmlrpc.createClient({ host: "127.0.0.1", port, path: "/RPC2" }));
const CALLED = new Set();

function callWith(client, method, args) {
  return new Promise((resolve, reject) => {
    client.methodCall(method, args, (error, value) => (error ? reject(error) : resolve(value)));
  });
}

function callOn(node, method, ...args) {
  CALLED.add(method);
  return callWith(NODES[node], method, args);
}

const call = (method, ...args) => callOn(0, method, ...args);

// Strict: 1 is not "1" and not true, and an object has no more members than it should.
const same = (found, wanted, what) => assert.deepStrictEqual(found, wanted, what);

// JavaScript has one type of number, and this package sends a whole one as an int. So a double needs help to be sent.
class Double extends CustomType {
  constructor(raw) {
    super(raw);
    this.tagName = "double";
  }
}

async function fault(code, text, method, ...args) {
  let result;
  try {
    result = await call(method, ...args);
  } catch (error) {
    same(error.faultCode, code, `${method}: ${error.message}`);
    assert.ok(error.faultString.includes(text), `${method}: ${error.faultString} does not say ${text}`);
    return;
  }
  assert.fail(`${method}: no fault, but ${JSON.stringify(result)}`);
}

async function until(what, look) {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return assert.fail(`waited in vain for ${what}`);
}

async function values() {
  let values = [0, 5, -1, 2 ** 31 - 1, -(2 ** 31), true, false, 0.5, -0.25, "", " ", "5", "<&>\"']]>", "a\tb\nc"];
  values = values.concat(["Grüße 😀", "x".repeat(10_000), new Date(2026, 10, 20, 9, 44, 0)]);
  values = values.concat([Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)), Buffer.from("")]);
  values.push([], [[]], [1, "two", [3.5, true]], {}, { a: 1, Ü: { b: [{ c: Buffer.from([0]) }] } });
  for (const [at, value] of values.entries()) {
    const instance = `node ${at}`;
    const { message, ...answer } = await call("propose", value, instance);
    assert.match(message, /^Value '[^]*' has been updated and committed\.$/);
    same(answer, { instance, value, outcome: "yours", ballot: `1.${PORTS[0]}`, attempts: 1 });
    for (const node of [1, 2]) {
      const look = async () => {
        const known = await callOn(node, "decided", instance);
        return known.decided && known;
      };
      same((await until(instance, look)).value, value);
    }
  }
  same((await callOn(1, "propose", "late", "node 0")).outcome, "another's");
  same((await call("propose", 7, "node option", { deadline_ms: 20_000 })).value, 7);
  same(await call("decided", "node never"), { decided: false });
  return `${values.length} values of all types, there and back`;
}

// This package gives an i8 as its digits, since not every one is a number of JavaScript.
async function largeInts() {
  const times = { times10: "21474836470", times100: "214748364700", times1000: "2147483647000" };
  same(await call("validator1.simpleStructReturnTest", 2 ** 31 - 1), times);
  return "i8";
}

async function nil() {
  for (const value of [null, [null], { a: null }]) {
    await fault(-32602, "nil", "propose", value, "node nil");
  }
  await fault(-32602, "nil", "validator1.echoStructTest", { a: null });
  return "nil is refused";
}

async function phases() {
  const hand = "node hand";
  same(await call("prepare", "5.0", hand), { promised: true, promised_ballot: "5.0" });
  same(await call("prepare", { round: 4, node: 9 }, hand), { promised: false, promised_ballot: "5.0" });
  same(await call("accept", 5, 1.5, hand), { accepted: true, promised_ballot: "5.0" });
  same(await call("accept", "4.9", 2.5, hand), { accepted: false, promised_ballot: "5.0" });
  const wanted = { promised: true, promised_ballot: "6.0", accepted_ballot: "5.0", accepted_value: 1.5 };
  same(await call("prepare", "6.0", hand), wanted);
  same(await call("commit", 5, 1.5, hand), { committed: true });
  same(await call("decided", hand), { decided: true, value: 1.5, ballot: "5.0" });
  return "the phases by hand";
}

async function learning() {
  const envelope = { from: PORTS[1], to: PORTS[0], generation: (await call("status")).generation };
  const ask = { after: 0, count: 0, digest: 0, open: ["node hand"] };
  const { learned } = await call("learn", ask, envelope);
  same(learned.more, false);
  const known = learned.decided.find((row) => row.instance === "node hand");
  same(known, { instance: "node hand", ballot: "5.0", value: 1.5 });
  await fault(111, "the message is for", "learn", ask, { ...envelope, to: PORTS[1] });
  return "learn";
}

async function gates() {
  const other = PORTS[2];
  same(await call("lab.gate.list"), []);
  same(await call("lab.gate.hold", "prepare", other), { held: 0 });
  same((await call("propose", "past the gate", "node gate")).outcome, "yours");
  same(await call("lab.gate.wait", "prepare", other, 1, 30_000), { held: 1 });
  same(await call("lab.gate.list"), [{ method: "prepare", to: other, held: 1 }]);
  same(await call("lab.gate.release", "prepare", other, 1), { released: 1 });
  same(await call("lab.gate.list"), [{ method: "prepare", to: other, held: 0 }]);
  same(await call("lab.gate.release", "prepare", other), { released: 0 });
  same(await call("lab.gate.hold", "commit", other, 60_000), { held: 0 });
  same(await call("lab.gate.clear"), { released: 0 });
  same(await call("lab.gate.list"), []);
  await fault(114, "no member", "lab.gate.hold", "prepare", 1);
  return "gates";
}

async function links() {
  const other = PORTS[2];
  same(await call("lab.gate.next"), { held: false });
  same(await call("lab.link.list"), []);
  same((await call("lab.link.cut", other))[0].cut, true);
  same((await call("lab.link.delay", other, 5, 60_000))[0].delay_ms, 5);
  same((await call("lab.link.drop", other, 30))[0].drop_percent, 30);
  same(await call("lab.link.heal", PORTS[1]), { healed: 0 });
  same(await call("lab.link.heal"), { healed: 1 });
  same(await call("lab.link.list"), []);
  same((await call("lab.trace", 0, 5)).events.length, 5);
  same(await call("lab.trace.switch", true), { on: true });
  same((await call("lab.trace.clear")).next >= 5, true);
  await fault(150, "hears itself", "lab.link.cut", PORTS[0]);
  return "links";
}

async function introspection() {
  const names = await call("system.listMethods");
  same(names, [...names].sort());
  for (const name of names) {
    assert.ok((await call("system.methodHelp", name)).startsWith(`${name}(`), name);
    for (const row of await call("system.methodSignature", name)) {
      assert.ok(row.length > 0 && row.every((kind) => typeof kind === "string"), name);
    }
  }
  const wanted = [["struct", "string"], ["struct", "string", "string"], ["struct", "string", "string", "struct"]];
  same(await call("system.methodSignature", "propose"), wanted);
  await fault(-32601, "no method 'nothing'", "system.methodHelp", "nothing");
  const capabilities = await call("system.getCapabilities");
  const keys = ["faults_interop", "introspect", "introspection", "nil", "system.multicall", "xmlrpc"];
  same(Object.keys(capabilities).sort(), keys);
  same(capabilities.xmlrpc, { specUrl: "http://www.xmlrpc.com/spec", specVersion: 1 });
  return "introspection";
}

const types = (object) => Object.fromEntries(Object.entries(object).map(([name, value]) => [name, typeof value]));

async function about() {
  same(types(await call("synod.version")), { synod: "string", protocol: "number", process: "number" });
  const rows = await call("synod.faults");
  for (const row of rows) {
    same(types(row), { code: "number", name: "string", definite: "boolean", meaning: "string" });
  }
  const definite = new Map(rows.map((row) => [row.code, row.definite]));
  same([definite.get(100), definite.get(102)], [true, false]);
  const status = await call("status");
  same([status.node, status.mode], [PORTS[0], "lab"]);
  same(status.members.map((member) => member.node), PORTS);
  const ballot = `1.${PORTS[0]}`;
  same((await call("status", "node 1")).instances, [
    { instance: "node 1", decided: true, promised_ballot: ballot, accepted_ballot: ballot, accepted_value: 5, ballot, value: 5 },
  ]);
  return "version, faults, status";
}

async function multicall() {
  const one = (methodName, ...params) => ({ methodName, params });
  const calls = Array.from({ length: 10 }, (_, number) => one("propose", number, `node many ${number}`));
  calls.push(one("nothing"), one("decided", "node never"), one("system.multicall", []), one("propose"), 5);
  calls.push({ params: [] }, { methodName: "decided", params: 5 });
  const answers = await call("system.multicall", calls);
  same(answers.slice(0, 10).map(([answer]) => answer.value), [...Array(10).keys()]);
  same(answers[11], [{ decided: false }]);
  const codes = [10, 12, 13, 14, 15, 16].map((at) => answers[at].faultCode);
  same(codes, [-32601, -32603, -32602, -32600, -32601, -32600]);
  same(types(answers[10]), { faultCode: "number", faultString: "string" });
  same(await call("system.multicall", []), []);
  await fault(-32602, "more than 1000", "system.multicall", Array(1001).fill(one("synod.version")));
  return "multicall";
}

async function validator1() {
  const stooges = { moe: 1, larry: 2, curly: -9 };
  same(await call("validator1.arrayOfStructsTest", [stooges, stooges]), -18);
  const counts = { ctLeftAngleBrackets: 2, ctRightAngleBrackets: 1, ctAmpersands: 3, ctApostrophes: 1, ctQuotes: 4 };
  same(await call("validator1.countTheEntities", "<<>&&&'\"\"\"\" ü"), counts);
  same(await call("validator1.easyStructTest", stooges), -6);
  const nested = { a: { b: [1, "2", 3.5, false, { c: "Ü" }] }, d: [] };
  same(await call("validator1.echoStructTest", nested), nested);
  const [date, bytes] = [new Date(1998, 6, 17, 14, 8, 55), Buffer.from([0, 120])];
  const six = await call("validator1.manyTypesTest", String(2n ** 63n - 1n), true, "", new Double("0.5"), date, bytes);
  same(six, [String(2n ** 63n - 1n), true, "", 0.5, date, bytes]);
  same(await call("validator1.moderateSizeArrayCheck", ["Wed", ...Array(150).fill("x"), "nesday"]), "Wednesday");
  same(await call("validator1.nestedStructTest", { 2000: { "04": { "01": stooges } } }), -6);
  return "validator1";
}

async function faults() {
  await fault(-32601, "there is no method 'nothing.at.all'", "nothing.at.all");
  await fault(-32602, "is missing", "propose");
  await fault(-32602, "", "propose", 1, "node fault", {}, 4);
  await fault(-32602, "", "decided", 1);
  await fault(-32602, "is not a ballot", "prepare", "five");
  await fault(114, "deadline_ms is above 60000", "propose", 1, "node fault", { deadline_ms: 60_001 });
  await fault(114, "the member moe is missing", "validator1.easyStructTest", {});
  await fault(111, "ignored: ", "prepare", `18446744073709551615.${PORTS[0]}`, "node fault");
  await fault(113, "larger than 1048576 bytes", "propose", "x".repeat(2 ** 20), "node fault");
  same(await call("decided", "node fault"), { decided: false });
  CALLED.delete("nothing.at.all");
  return "faults with code and text";
}

async function credentials() {
  const guarded = (basic_auth) => xmlrpc.createClient({ host: "127.0.0.1", port: GUARDED, path: "/RPC2", basic_auth });
  for (const who of [undefined, { user: "alice", pass: "wrong" }, { user: "bob", pass: SECRET }]) {
    const refused = (error) => error.res !== undefined && error.res.statusCode === 401;
    await assert.rejects(callWith(guarded(who), "status", []), refused);
  }
  const alice = guarded({ user: "alice", pass: SECRET });
  same((await callWith(alice, "propose", ["by alice", "node"])).value, "by alice");
  await assert.rejects(callWith(alice, "restart", []), (error) => error.faultCode === 115);
  return "credentials";
}

// Nodes start unproven: nothing that is agreed upon is served before all have met, and elected.
async function led() {
  const kinds = { leader: "number", epoch: "string", state: "string", eligible: "boolean", hears: "object" };
  Object.assign(kinds, { votes: "boolean", length: "number", committed: "number", applied: "number" });
  Object.assign(kinds, { member: "boolean", snapshot: "number", state_hash: "string", waiting: "number" });
  await until("a leader", async () => {
    const rows = await Promise.all(NODES.map((_, node) => callOn(node, "bully.status")));
    if (rows.some((row) => !row.votes || row.leader === undefined || row.leader !== rows[0].leader)) return false;
    for (const row of rows) same(types(row), kinds);
    return true;
  });
  return "a leader";
}

// A write's answer has its place in the log, and these members; gives the place.
function wrote(answer, others = {}) {
  const { epoch, counter } = answer;
  same(types({ epoch, counter }), { epoch: "number", counter: "number" }, JSON.stringify(answer));
  same(answer, { epoch, counter, ...others });
  return { epoch, counter };
}

// Gives the version, too, which a key keeps growing from even after it was deleted.
async function put(method, ...args) {
  const answer = await call(method, ...args);
  same(typeof answer.version, "number");
  wrote(answer, { version: answer.version });
  return answer;
}

// Exactly these events are told, on and on from where the last call left off.
async function told(events, since, method, ...args) {
  const found = [];
  while (found.length < events.length) {
    const answer = await call(method, ...args, since, 60_000);
    same(types(answer), { events: "object", next: "number" });
    found.push(...answer.events);
    since = answer.next;
  }
  same(found, events, method);
  return since;
}

async function keys() {
  let values = [0, -(2 ** 31), 2 ** 31 - 1, true, false, 0.5, "", " ", "<&>\"']]>", "a\tb\nc", "Grüße 😀"];
  values = values.concat(["x".repeat(10_000), new Date(2026, 10, 20, 9, 44, 0)]);
  values.push(Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)));
  values.push([], [1, "two", [3.5, true]], {}, { a: 1, Ü: { b: [{ c: Buffer.from([0]) }] } });
  const rows = [];
  for (const [at, value] of values.entries()) {
    const key = `node v/${String(at).padStart(2, "0")}`;
    const answer = await put("kv.put", key, value);
    for (const node of NODES.keys()) same(await callOn(node, "kv.get", key), { ...answer, found: true, value }, key);
    rows.push({ key, value, version: answer.version });
  }
  same(await call("kv.list", "node v/"), { entries: rows, more: false });
  const page = await call("kv.list", "node v/", { after: "node v/02", limit: 2 });
  same(page, { entries: rows.slice(3, 5), more: true });
  await fault(-32602, "nil", "kv.put", "node nil", null);
  const { version } = await put("kv.cas", "node Ü", 0, "one");
  await fault(116, `has version ${version}, not 0`, "kv.cas", "node Ü", 0, "two");
  same((await put("kv.cas", "node Ü", version, "two")).version, version + 1);
  const { applied, behind } = await call("kv.get", "node Ü", { read: "local" });
  same([typeof applied, typeof behind], ["number", "number"]);
  wrote(await call("kv.delete", "node Ü"), { version: version + 1 });
  wrote(await call("kv.delete", "node Ü"));
  same(await call("kv.get", "node Ü"), { found: false });
  return `keys: ${values.length} values of all types, there and back; versions`;
}

async function requests() {
  const once = { request: "node/2" };
  const first = await put("kv.put", "node once", 1, once);
  same(await callOn(2, "kv.put", "node once", 1, once), first);
  await fault(122, "node/2 was another call", "kv.put", "node once", 2, once);
  await fault(121, "comes after node/2", "kv.put", "node once", 1, { request: "node/1" });
  await fault(114, "client/sequence", "kv.put", "node once", 1, { request: "node" });
  same(await call("synod.outcome", "node/2"), { applied: true, answer: first });
  same(await call("synod.outcome", "node/3"), { applied: false, last: 2 });
  same(await call("synod.outcome", "node never/1"), { applied: false });
  same(await call("kv.get", "node once"), { ...first, found: true, value: 1 });
  return "request ids: applied once";
}

async function watching() {
  const since = (await put("kv.put", "node w/other", 0)).counter;
  const waits = callOn(1, "kv.watch", "node w/", since, 60_000);
  const event = { ...(await put("kv.put", "node w/1", [0.5])), what: "put", key: "node w/1", value: [0.5] };
  same((await waits).events, [event]);
  const gone = { ...(await call("kv.delete", "node w/1")), what: "deleted", key: "node w/1" };
  const last = await told([event, gone], since, "kv.watch", "node w/");
  const { next, ...quiet } = await call("kv.watch", "node w/", last, 1);
  same([quiet, typeof next], [{ events: [] }, "number"]);
  await fault(114, "timeout_ms is above 60000", "kv.watch", "node w/", 0, 60_001);
  return "watches";
}

async function board() {
  const [author] = PORTS;
  const posted = await call("board.strong.post", "first\n<&>");
  const { id } = posted;
  wrote(posted, { id });
  const row = { ...posted, text: "first\n<&>", author };
  const after = { after: String(id - 1) };
  same(await callOn(2, "board.strong.list", after), [row]);
  const modified = { ...wrote(await call("board.strong.modify", id, "Ü"), { id }), id, author, text: "Ü" };
  same(await call("board.strong.list", after), [{ ...modified, epoch: posted.epoch, counter: posted.counter }]);
  const deleted = { ...wrote(await call("board.strong.delete", id), { id }), id, author };
  same(await call("board.strong.list", after), []);
  await fault(117, `no post ${id}`, "board.strong.delete", id);
  const events = [{ ...row, what: "posted" }, { ...modified, what: "modified" }, { ...deleted, what: "deleted" }];
  await told(events, posted.counter - 1, "board.strong.watch");
  return "the board";
}

async function files() {
  const name = "node Ü.txt";
  const made = wrote(await call("files.create", name), { message: `CREATED FILE '${name}'` });
  await fault(118, `FILE '${name}' ALREADY EXISTS`, "files.create", name);
  const one = wrote(await call("files.append", name, "<x> y"), { message: `WROTE '<x> y' TO FILE '${name}'` });
  same(await callOn(1, "files.read", name), { name, text: "<x> y", lines: 1, ...one });
  const rows = (await call("files.list")).filter((row) => row.name === name);
  same(rows, [{ name, lines: 1, bytes: 5, ...one }]);
  const gone = wrote(await call("files.delete", name), { message: `DELETED FILE '${name}'` });
  await fault(117, `FILE '${name}' DOESN'T EXIST`, "files.read", name);
  const { lines, next } = await call("files.history", made.counter - 1);
  const line = (command, { epoch, counter }) => `${command} ${epoch} ${counter}`;
  same(lines, [line(`create ${name}`, made), line(`append ${name} <x> y`, one), line(`delete ${name}`, gone)]);
  same(typeof next, "number");
  return "files";
}

async function locks() {
  const name = "node lock";
  const held = await call("lock.acquire", name, "ann", 60_000);
  const { token } = held;
  same([typeof token, held], ["number", { granted: true, token }]);
  same(await call("lock.acquire", name, "bob", 60_000, 1), { granted: false });
  same(await call("lock.renew", name, "ann", token, 60_000), held);
  await fault(120, `'ann' does, with token ${token}`, "lock.renew", name, "bob");
  const row = async () => (await call("lock.list")).find((lock) => lock.name === name);
  const { expires_in_ms: left, ...rest } = await row();
  assert.ok(left > 0 && left <= 60_000, String(left));
  same(rest, { name, owner: "ann", token, queue: [] });
  const fence = { token, lock: name };
  const answer = await put("kv.put", "node fenced", 1, fence);
  const waits = [callOn(1, "lock.acquire", name, "bob", 60_000, 60_000)];
  await until("bob in the queue", async () => (await row()).queue.join() === "bob");
  waits.push(callOn(2, "lock.acquire", name, "cid", 60_000, 60_000));
  await until("cid in the queue", async () => (await row()).queue.join() === "bob,cid");
  wrote(await call("lock.release", name, "cid"), { released: true });
  same(await waits[1], { granted: false });
  wrote(await call("lock.release", name, "ann", token), { released: true });
  const newer = (await waits[0]).token;
  assert.ok(newer > token, String(newer));
  await fault(119, `token ${token} does not hold`, "kv.put", "node fenced", 2, fence);
  await fault(114, "kv and files", "board.strong.post", "x", fence);
  wrote(await call("lock.release", name, "bob", newer), { released: true });
  same(await call("kv.get", "node fenced"), { ...answer, found: true, value: 1 });
  return "locks, queues and tokens";
}

async function members() {
  const rows = PORTS.map((port) => ({ node: port, address: `127.0.0.1:${port}` }));
  same(await call("cluster.members"), { members: rows, changing: false });
  await fault(124, "is a member already", "cluster.add", PORTS[1], "127.0.0.1:7");
  await fault(114, "the address is not HOST:PORT", "cluster.add", 7, "here");
  await fault(125, "7 is no member", "cluster.remove", 7);
  return "members";
}

async function eventual() {
  const [author, , third] = PORTS;
  const posted = await call("board.eventual.post", "first\n<&>");
  const { id, clock } = posted;
  same(posted, { id: `${clock}.${author}`, text: "first\n<&>", author, clock, server: author });
  const since = (await call("board.eventual.status")).changes;
  const shows = (node, row) => async () => (await callOn(node, "board.eventual.list")).some((found) => found.id === row.id);
  for (const node of NODES.keys()) await until("the post everywhere", shows(node, posted));
  const changed = await callOn(2, "board.eventual.modify", id, "Ü");
  same(changed, { ...posted, text: "Ü", clock: changed.clock, server: third });
  const { events } = await call("board.eventual.watch", since, 60_000);
  same(events, [{ ...changed, what: "modified", counter: since + 1 }]);
  const gone = await call("board.eventual.delete", id);
  same(gone, { id, author, clock: gone.clock, server: author });
  await fault(117, `no entry ${id}`, "board.eventual.modify", id, "x");
  return "the eventual board";
}

async function registers() {
  same(await call("register.read", "node never"), { found: false });
  for (const value of [5, "Ü", [1, { a: "b" }], true]) {
    const written = await call("register.write", "node", value);
    same(await callOn(2, "register.read", "node"), { ...written, found: true, value });
  }
  await fault(113, "513 bytes", "register.write", "x".repeat(513), 1);
  same(await call("register.quorum"), { read: 2, write: 2, nodes: 3, intersect: true });
  return "quorum registers";
}
// A hash table, flooding and an index: the route is in every answer.
async function overlays() {
  for (const overlay of ["dht", "flood", "index"]) {
    const key = `node Ü ${overlay}`;
    same((await call(`${overlay}.set`, key, ["two", 1])).hops[0], PORTS[0]);
    const { found, value, hops } = await callOn(2, `${overlay}.get`, key);
    same({ found, value }, { found: true, value: ["two", 1] });
    same(hops[0], PORTS[2]);
    await call(`${overlay}.remove`, key);
    same((await call(`${overlay}.get`, key)).found, false);
    await fault(140, "nothing was changed", `${overlay}.remove`, key);
    await fault(144, "at most 512 bytes", `${overlay}.get`, "x".repeat(513));
  }
  same(Array.isArray(await call("dht.fingers")), true);
  await call("dht.leave");
  same((await call("dht.ring")).state, "left");
  await call("dht.join");
  same((await call("dht.ring")).state, "joined");
  return "overlays";
}

// What nodes say to each other: a client that says it wrongly gets a fault, and changes nothing.
async function messages() {
  const envelope = { from: PORTS[1], to: PORTS[0], generation: (await call("status")).generation };
  const own = ["bully.status", "bully.elect", "register.read", "register.write", "register.quorum"];
  const all = (await call("system.listMethods")).filter((name) => /^(log|bully|eventual|register)\.|\.message$/.test(name));
  const names = all.filter((name) => !own.includes(name));
  for (const name of names) {
    await fault(-32602, "is missing", name);
    if (name !== "log.blank") await fault(-32602, "lacks a member", name, {}, envelope);
  }
  same((await call("bully.elect")).votes, true);
  await led();
  return "the nodes' own messages";
}

async function restarting() {
  const before = (await call("status")).generation;
  for (const [node, port] of PORTS.entries()) {
    const answer = await callOn(node, "restart");
    same(types(answer), { generation: "number", message: "string" });
    assert.ok(answer.generation > before);
    same(answer.message, `Node on port ${port} has been restarted.`);
  }
  await until("one generation", async () => {
    const all = await Promise.all(NODES.map((_, node) => callOn(node, "status")));
    return new Set(all.map((status) => status.generation)).size === 1;
  });
  same(await call("decided", "node 0"), { decided: false });
  return "restart";
}

async function everything() {
  same([...CALLED].sort(), await call("system.listMethods"), "the methods that were called");
  return `all ${CALLED.size} methods`;
}

async function main() {
  const parts = [values, largeInts, nil, phases, learning, gates, links, introspection, about, multicall, validator1, faults];
  parts.push(led, keys, requests, watching, board, files, locks, eventual, registers, members, overlays, messages);
  for (const part of [...parts, credentials, restarting, everything]) {
    console.log(await part());
  }
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
