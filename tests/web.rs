//! The page of real nodes, as a browser without scripts or a plain HTTP client meets it. What the scripts add is tested in
//! a real browser, by `tests/browser/run`.

use std::collections::BTreeSet;

use serde_json::Value;
use synod::rpc::access::{Role, Secret, basic};
use synod::rpc::client::Calling;
use synod::rpc::strong::answers::Wrote;
use tempfile::TempDir;

use crate::support::http::{Event, Events, Response, get, post};
use crate::support::nodes::{Nodes, TIMEOUT};
use crate::support::{until, until_so};

const HTML: &str = "Accept: text/html,application/xhtml+xml;q=0.9";

/// A lab whose nodes all know a leader.
fn lab(count: u16) -> Nodes {
    let nodes = Nodes::lab(count);
    nodes.all().for_each(|node| until_so("a node to be ready", || ready(&nodes, node).status == 200));
    nodes
}

fn ready(nodes: &Nodes, node: usize) -> Response {
    get(nodes.ports.at(node), "/readyz", &[])
}

/// The token in the forms of a page.
fn token(page: &Response) -> String {
    let (_, rest) = page.body.split_once("name=\"token\" value=\"").expect("the page has forms");
    rest.split('"').next().unwrap().to_owned()
}

fn json(response: &Response) -> Value {
    serde_json::from_str(&response.body).unwrap_or_else(|error| panic!("{error}: {response:?}"))
}

fn texts(port: u16) -> Vec<String> {
    let posts = json(&get(port, "/board", &[]));
    posts.as_array().unwrap().iter().map(|post| post["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_page_reads_and_posts_without_scripts() {
    let nodes = lab(3);
    let port = nodes.ports.at(1);
    let origin = format!("Origin: http://127.0.0.1:{port}");
    let as_browser = [HTML, &origin, "Sec-Fetch-Site: same-origin", "User-Agent: Mozilla/5.0"];
    let page = get(port, "/", &as_browser);
    assert_eq!(page.status, 200, "{page:?}");
    let policy = page.header("Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(page.header("Cache-Control"), Some("no-store"));
    for part in
        ["3 of 3 up", "can lose 1 more", "minProposal", "action=\"/board\"", "No posts yet", "There are no keys"]
    {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }

    let attack = "<script>alert(1)</script>\"'&<b>é";
    let form = format!("token={}&entry=%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22%27%26%3Cb%3E%C3%A9", token(&page));
    let posted = post(port, "/board", &form, &as_browser);
    assert_eq!((posted.status, posted.header("Location")), (303, Some("/#strong")), "{posted:?}");
    // The page to which it is sent back shows it, though another node wrote it.
    let page = get(port, "/", &as_browser);
    assert!(page.body.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;&lt;b&gt;é"), "{}", page.body);
    assert!(!page.body.contains("<script>alert"), "{}", page.body);
    assert_eq!(texts(port), [attack]);

    let change = |form: &str| post(port, "/board/1/", &format!("token={}&{form}", token(&page)), &as_browser);
    assert_eq!(change("entry=other%0D%0Atext&delete=0").status, 303);
    assert_eq!(texts(port), ["other\ntext"]);
    assert_eq!(change("entry=x&delete=1").status, 303);
    assert_eq!(texts(port), Vec::<String>::new());
    let gone = change("entry=x&delete=1");
    assert_eq!((gone.status, gone.header("Content-Type")), (404, Some("text/html; charset=utf-8")), "{gone:?}");

    let proposed = post(port, "/propose", &format!("token={}&value=5&instance=a%26b", token(&page)), &as_browser);
    assert_eq!((proposed.status, proposed.header("Location")), (303, Some("/#paxos")), "{proposed:?}");
    assert_eq!(nodes.learned(0, "a&b"), "5");
    // The other acceptors are asked every other second at most.
    let page = until("the acceptors", || {
        let page = get(port, "/?instance=a%26b", &as_browser);
        page.body.contains("so it is chosen").then_some(page)
    });
    assert!(page.body.contains("Instance <strong><bdi>a&amp;b</bdi></strong>"), "{}", page.body);
    assert_eq!(get(port, "/?instance=%00", &as_browser).status, 400);
}

#[test]
fn the_plain_routes_answer_with_what_became_of_it() {
    let nodes = lab(3);
    let port = nodes.ports.at(0);
    let posted = post(port, "/board", "entry=hello+world", &[]);
    assert_eq!((posted.status, posted.header("Location")), (201, Some("/board/1/")), "{posted:?}");
    assert_eq!(json(&posted)["ok"], true);
    until_so("the post", || texts(port) == ["hello world"]);
    for (path, form, status) in [
        ("/board/1/", "entry=changed&delete=0", 200),
        ("/board/1", "entry=again", 200),
        ("/board/1/", "entry=x&delete=2", 400),
        ("/board/1/", "delete=0", 400),
        ("/board", "", 400),
        ("/board", "entry=++", 400),
        ("/board", "entry=%FF", 400),
        ("/board", "entry=a&entry=b", 400),
        ("/board/7/", "entry=x&delete=0", 404),
        ("/board/x/", "entry=x&delete=0", 404),
        ("/board/1/2/", "entry=x", 404),
        ("/nothing", "entry=x", 404),
        ("/board/1/", "delete=1", 200),
        ("/board/1/", "delete=1", 404),
        ("/propose", "value=5", 200),
        ("/propose", "instance=x", 400),
    ] {
        let answer = post(port, path, form, &[]);
        assert_eq!(answer.status, status, "{path} {form}: {answer:?}");
    }
    let large = post(port, "/board", &format!("entry={}", "x".repeat(70_000)), &[]);
    assert_eq!(large.status, 413, "{large:?}");
    let multipart = post(port, "/board", "entry=x", &["Content-Type: multipart/form-data; boundary=x"]);
    assert_eq!(multipart.status, 415, "{multipart:?}");
    assert_eq!(get(port, "/nothing", &[]).status, 404);
    assert_eq!(get(port, "/panel/nothing", &[]).status, 404);
    assert!(get(port, "/panel/keys", &[]).body.contains("There are no keys"));
    assert!(get(port, "/board", &[HTML]).body.contains("<h1>The strong board</h1>"));
    assert!(get(port, "/RPC2", &[]).body.contains("<h2 id=\"propose\">"));
    let style = get(port, "/assets/style.css", &[]);
    assert_eq!((style.status, style.header("Content-Type")), (200, Some("text/css; charset=utf-8")));
}

#[test]
fn other_sites_cannot_post_here() {
    let nodes = lab(1);
    let port = nodes.ports.at(0);
    let own = format!("Origin: http://127.0.0.1:{port}");
    let token = token(&get(port, "/", &[HTML]));
    let good = format!("entry=x&token={token}");
    for (form, headers, status) in [
        ("entry=x", &[][..], 201),
        (&*good, &[&*own, "Sec-Fetch-Site: same-origin"], 201),
        (&good, &["Origin: http://evil.example"], 403),
        (&good, &["Origin: null"], 403),
        (&good, &[&own, "Sec-Fetch-Site: cross-site"], 403),
        (&good, &[&own, "Sec-Fetch-Site: same-site"], 403),
        ("entry=x", &[&own], 403),
        ("entry=x", &["Referer: http://evil.example/"], 403),
        ("entry=x", &["User-Agent: Mozilla/5.0 (X11)"], 403),
        ("entry=x&token=", &[], 403),
        ("entry=x&token=00000000000000000000000000000000", &[], 403),
        (&good, &["Host: evil.example"], 403),
        (&good, &["Host: 192.168.0.7:8000"], 403),
    ] {
        let answer = post(port, "/board", form, headers);
        assert_eq!(answer.status, status, "{form} {headers:?}: {answer:?}");
    }
    until_so("the two posts", || texts(port).len() == 2);
    assert_eq!(get(port, "/", &[HTML, "Host: evil.example"]).status, 403, "a name that was rebound to us");
    let page = get(port, "/", &[HTML, "Origin: http://evil.example"]);
    assert!(!page.head.contains("Access-Control-Allow"), "{page:?}");
}

/// Whether an event is of a panel, and holds a text.
fn shows(panel: &str, text: &str) -> impl Fn(&Event) -> bool {
    let (panel, text) = (format!("{{\"panel\":\"{panel}\""), text.to_owned());
    move |event| event.data.starts_with(&panel) && event.data.contains(&text)
}

#[test]
fn events_go_on_where_they_stopped() {
    let nodes = lab(3);
    let (here, there) = (nodes.ports.at(0), nodes.ports.at(2));
    let mut events = Events::open(here, "/live", &[]);
    assert_eq!(events.status(), 200);
    events.until(shows("strong", "No posts yet"));
    assert_eq!(post(there, "/board", "entry=first", &[]).status, 201);
    let first = events.until(shows("strong", "first"));
    assert_eq!(post(there, "/board", "entry=second", &[]).status, 201);
    events.until(shows("strong", "second"));
    drop(events);

    // Whoever comes back hears what is new since, and no more often than once.
    let seen = format!("Last-Event-ID: {}", first.id);
    let mut again = Events::open(here, "/live?after=ignored", &[&seen]);
    let next = again.until(|event| event.data.contains("\"strong\""));
    assert!(next.data.contains("second") && next.id != first.id, "{next:?}");
    let poll = |after: &str| json(&get(here, &format!("/live?after={after}"), &[]));
    let panels = |news: &Value| -> BTreeSet<String> {
        news["panels"].as_array().unwrap().iter().map(|row| row["panel"].as_str().unwrap().to_owned()).collect()
    };
    // An id of another life: all there is.
    let all = poll("0123456789abcdef.99999");
    assert!(panels(&all).len() > 5, "{all}");
    until_so("quiet", || {
        let id = all["id"].as_str().unwrap();
        let news = poll(id);
        !panels(&news).contains("strong") && panels(&poll(news["id"].as_str().unwrap())).is_empty()
    });
}

#[test]
fn streams_are_bounded_and_their_places_come_back() {
    let nodes = lab(1);
    let port = nodes.ports.at(0);
    let mut open: Vec<Events> = Vec::new();
    let refused = loop {
        let events = Events::open(port, "/live", &[]);
        if events.status() != 200 {
            break events;
        }
        open.push(events);
        assert!(open.len() < 1000, "no bound");
    };
    assert_eq!((refused.status(), open.len()), (503, 64));
    assert!(refused.read.contains("Retry-After: "), "{refused:?}");
    assert_eq!(get(port, "/live", &[]).status, 200, "one may poll");
    let _: Wrote = nodes.call(0, "board.strong.post", &("still served",));
    for events in &mut open {
        events.until(shows("strong", "still served"));
    }
    drop(open);
    until_so("a place", || Events::open(port, "/live", &[]).status() == 200);
}

#[test]
fn a_node_says_whether_it_can_serve_and_why_not() {
    let mut nodes = lab(3);
    assert_eq!(get(nodes.ports.at(0), "/livez", &[]).body, "ok\n");
    nodes.kill(1);
    nodes.kill(2);
    let unready = until("the node to notice", || Some(ready(&nodes, 0)).filter(|answer| answer.status != 200));
    assert_eq!(unready.status, 503);
    assert!(unready.body.contains("lead"), "{unready:?}");
    assert!(unready.header("Retry-After").is_some());
    assert_eq!(get(nodes.ports.at(0), "/livez", &[]).status, 200, "it lives");
    let page = until("the page to notice", || {
        let page = get(nodes.ports.at(0), "/", &[HTML]);
        page.body.contains("1 of 3 up, this node hears 1, no majority").then_some(page)
    });
    assert!(page.body.contains("</span> down</td>"), "{}", page.body);
    let refused = post(nodes.ports.at(0), "/board", "entry=x", &[]);
    assert!(refused.status == 503 && json(&refused)["ok"] == false, "{refused:?}");
    nodes.start_those_down();
    until_so("the node to be ready again", || ready(&nodes, 0).status == 200);
}

/// The value of a metric, by its name and labels.
fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn metrics_count() {
    let nodes = lab(3);
    let _: Wrote = nodes.call(0, "kv.put", &("key", 5));
    nodes.propose(0, 5, "default");
    let (port, peer) = (nodes.ports.at(0), nodes.ports.at(1));
    let text = get(port, "/metrics", &[]).body;
    let leaders: f64 = nodes
        .all()
        .map(|node| metric(&get(nodes.ports.at(node), "/metrics", &[]).body, "synod_server_is_leader").unwrap())
        .sum();
    assert!(leaders <= 1.0, "{leaders}");
    let at_least = |name: &str, least: f64| {
        let value = metric(&text, name).unwrap_or_else(|| panic!("no {name}: {text}"));
        assert!(value >= least, "{name}: {value}");
    };
    at_least("synod_server_has_leader", 1.0);
    at_least("synod_server_leader_changes_seen_total", 1.0);
    at_least("synod_server_proposals_committed_total", 1.0);
    at_least("synod_disk_wal_fsync_duration_seconds_count", 1.0);
    at_least("synod_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"}", 1.0);
    at_least(&format!("synod_network_peer_sent_bytes_total{{To=\"{peer}\"}}"), 100.0);
    at_least(&format!("synod_network_peer_round_trip_time_seconds_count{{To=\"{peer}\"}}"), 1.0);
    at_least("synod_paxos_proposals_total", 1.0);
    at_least("process_open_fds", 3.0);
    // Every sample has its family, named before it.
    let mut families = BTreeSet::new();
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(family) => assert!(families.insert(family.split(' ').next().unwrap()), "twice: {line}"),
            None if line.starts_with('#') => {}
            None => {
                let name = line.split(['{', ' ']).next().unwrap();
                let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                assert!(families.contains(name) || stem.is_some_and(|stem| families.contains(stem)), "{line}");
            }
        }
    }
}

#[test]
fn the_page_has_the_roles_of_the_wire() {
    let dir = TempDir::new().unwrap();
    let (file, cluster) = (dir.path().join("credentials.toml"), dir.path().join("cluster.secret"));
    let secret = synod::rpc::access::add(&file, "alice", Role::Client).unwrap();
    synod::rpc::access::make_cluster_secret(&cluster).unwrap();
    let alice = basic("alice", &secret);
    let args = ["--credentials".into(), file.into(), "--cluster-secret".into(), cluster.clone().into_os_string()];
    let calling = Calling { authorization: Some(alice.clone()), ..Calling::plain(TIMEOUT) };
    let nodes = Nodes::guarded(3, true, &args, calling);
    let port = nodes.ports.at(0);
    until_so("a node to be ready", || ready(&nodes, 0).status == 200);
    for path in ["/", "/board", "/live", "/metrics", "/RPC2", "/assets/style.css", "/panel/strong"] {
        let stranger = get(port, path, &[]);
        assert_eq!(stranger.status, 401, "{path}");
        assert_eq!(stranger.header("WWW-Authenticate"), Some("Basic realm=\"synod\""));
        let node = format!("Authorization: {}", Secret::read(&cluster).unwrap().header());
        assert_eq!(get(port, path, &[&node]).status, 403, "{path}");
    }
    assert_eq!(post(port, "/board", "entry=x", &[]).status, 401);
    let alice = format!("Authorization: {alice}");
    assert_eq!(post(port, "/board", "entry=x", &[&alice]).status, 201);
    // The other nodes are asked in her name.
    until_so("the whole view", || get(port, "/", &[HTML, &alice]).body.contains("3 of 3 up"));
    assert_eq!(get(port, "/metrics", &[&alice]).status, 200);
}

#[test]
fn a_nodes_log_is_lines_of_json_where_it_goes_to_a_file() {
    let nodes = Nodes::guarded(1, true, &["-vv".into()], Calling::plain(TIMEOUT));
    let port = nodes.ports.at(0);
    get(port, "/", &[HTML, "Host: evil.example"]);
    let line = until("a line that tells of it", || {
        let log = nodes.logged(0);
        log.lines().find(|line| line.contains("is refused: 403")).map(str::to_owned)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (line["level"].as_str(), line["target"].as_str()),
        (Some("DEBUG"), Some("synod::rpc::door::connection"))
    );
    assert!(line["thread"].as_str().unwrap().starts_with("door-"), "{line}");
    let log = nodes.logged(0);
    let whole = log.lines().take(log.lines().count().saturating_sub(1));
    whole.for_each(|line| assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}"));
}

#[test]
fn the_eventual_board_has_the_same_routes() {
    let nodes = lab(3);
    let (here, there) = (nodes.ports.at(0), nodes.ports.at(2));
    let posted = post(here, "/eventual", "entry=sooner", &[]);
    assert_eq!(posted.status, 201, "{posted:?}");
    let location = posted.header("Location").unwrap().to_owned();
    assert!(location.starts_with("/eventual/") && location.ends_with(&format!(".{here}/")), "{location}");
    let shows = |text: &str| {
        let board = json(&get(there, "/eventual", &[]));
        board.as_array().unwrap().iter().any(|entry| entry["text"] == text)
    };
    until_so("the post to come", || shows("sooner"));
    assert_eq!(post(there, &location, "entry=later&delete=0", &[]).status, 200);
    until_so("the change", || shows("later"));
    assert!(get(there, "/eventual", &[HTML]).body.contains("<h1>The eventual board</h1>"));
    assert_eq!(post(here, &location, "delete=1", &[]).status, 200);
    until_so("the deletion", || !shows("later"));
    for path in ["/eventual/7/", "/eventual/x/", "/eventual/99999.1/"] {
        assert_eq!(post(here, path, "entry=x", &[]).status, 404, "{path}");
    }
    // Without a majority the strong board is silent, and this one is not.
    let cut = post(here, "/lab", &format!("do=partition&side-{here}=on"), &[]);
    assert_eq!(cut.status, 200, "{cut:?}");
    until_so("the node to notice", || ready(&nodes, 0).status == 503);
    assert_eq!(post(here, "/eventual", "entry=alone", &[]).status, 201);
    until_so("the panel to say so", || {
        let panel = get(here, "/panel/eventual", &[]).body;
        panel.contains("Boards differ") && panel.contains("</span> local")
    });
    assert_eq!(post(there, "/lab", "do=heal", &[]).status, 200);
    until_so("the post to come", || shows("alone"));
}

#[test]
fn links_fail_by_the_forms_of_a_lab_only() {
    let nodes = lab(3);
    let (one, other) = (nodes.ports.at(0), nodes.ports.at(1));
    for (form, status) in [
        (format!("do=delay&from={other}&to={one}"), 200),
        (format!("do=cut&from={one}&to={other}"), 200),
        (format!("do=cut&from={one}&to={one}"), 409),
        (format!("do=cut&from={one}&to=7"), 400),
        (format!("do=cut&from={one}"), 400),
        ("do=partition".to_owned(), 400),
        ("do=partition&side-1=on".to_owned(), 400),
        ("do=nothing".to_owned(), 400),
        (String::new(), 400),
    ] {
        let answer = post(one, "/lab", &form, &[]);
        assert_eq!(answer.status, status, "{form}: {answer:?}");
    }
    until_so("both faults", || get(other, "/panel/faults", &[]).body.contains("2 links fail"));
    assert_eq!(post(other, "/lab", "do=heal", &[]).status, 200);
    until_so("no fault", || get(one, "/panel/faults", &[]).body.contains("All links are whole"));
    assert_eq!(post(one, "/lab", "do=elect", &[]).status, 200);

    let service = Nodes::service(1);
    let port = service.ports.at(0);
    assert_eq!(post(port, "/lab", "do=elect", &[]).status, 403, "of no lab");
    assert!(!get(port, "/", &[HTML]).body.contains("Faults by hand"));
}

#[test]
fn what_happened_is_told_in_order_and_once() {
    let nodes = lab(3);
    let port = nodes.ports.at(0);
    let news = |after: &str| json(&get(port, &format!("/live?trace=1&after={after}"), &[]));
    news("");
    nodes.propose(1, 5, "default");
    let told = until("the ballot", || {
        let news = news("");
        let events = news["trace"]["events"].as_array().unwrap();
        let is_told = |name: &str| events.iter().any(|event| event["name"] == name && event["kind"] == "receive");
        (is_told("Promise") && is_told("Accepted")).then_some(news)
    });
    let events = told["trace"]["events"].as_array().unwrap();
    let numbers: Vec<u64> = events.iter().map(|event| event["number"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let senders: BTreeSet<u64> = events.iter().map(|event| event["node"].as_u64().unwrap()).collect();
    assert_eq!(senders.len(), 3, "all nodes are asked");
    let after = news(told["id"].as_str().unwrap());
    let later = after["trace"]["events"].as_array().unwrap();
    assert!(later.iter().all(|event| event["number"].as_u64() > numbers.last().copied()), "{after}");
    assert!(json(&get(port, "/live", &[]))["trace"]["events"].as_array().unwrap().is_empty(), "nobody asked");
}
