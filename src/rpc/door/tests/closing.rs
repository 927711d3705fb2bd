//! Closing: no call is cut off, and none is answered by a reset.

use super::*;

#[test]
fn closing_answers_the_calls_in_flight() {
    let fixture = open(patient());
    let (mut idle, mut busy) = (fixture.connect_and_call(), fixture.connect());
    busy.send(post("wait"));
    fixture.entered.recv().unwrap();
    let addr = fixture.door.local_addr();
    thread::scope(|scope| {
        let closing = scope.spawn(|| fixture.door.close(PATIENCE));
        idle.closed();
        wait_until("the port to be closed", || TcpStream::connect(addr).is_err());
        fixture.go_on.send(()).unwrap();
        let answer = busy.answer(true);
        assert_eq!(answer.body, "waited");
        assert!(answer.head.contains("Connection: close"), "{answer:?}");
        busy.closed();
        closing.join().unwrap();
    });
    assert_eq!(fixture.door.connections(), 0);
    assert!(fixture.service.upgrade().is_none(), "a thread still holds the service");
    fixture.door.close(PATIENCE);
}

#[test]
fn closing_cuts_off_what_outlasts_the_grace() {
    let fixture = open(patient());
    let (mut in_body, mut in_service) = (fixture.connect(), fixture.connect());
    in_body.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(in_body.answer(false).status, 100);
    in_service.send(post("wait"));
    fixture.entered.recv().unwrap();
    fixture.door.close(Duration::ZERO);
    in_body.closed();
    in_service.closed();
    assert_eq!(fixture.door.connections(), 1, "the one in the service");
    fixture.go_on.send(()).unwrap();
    fixture.wait_for_connections(0);
}

#[test]
fn a_dropped_door_is_closed() {
    let Fixture { door, service, .. } = open(patient());
    let mut client = TcpStream::connect(door.local_addr()).unwrap();
    wait_until("the connection", || door.connections() == 1);
    drop(door);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert!(service.upgrade().is_none(), "a thread still holds the service");
}

#[test]
fn a_door_on_every_interface_closes_too() {
    for every in ["0.0.0.0:0", "[::]:0"] {
        // A machine without IPv6 has nothing to test in the second.
        let Ok(listener) = TcpListener::bind(every.parse::<SocketAddr>().unwrap()) else {
            continue;
        };
        let (entered, (_, go_on)) = (channel().0, channel());
        let service = Arc::new(Echo { entered, go_on: Mutex::new(go_on), promises: channel().0 });
        Door::open(listener, patient(), service).unwrap().close(PATIENCE);
    }
}

#[test]
fn what_has_arrived_unread_is_answered() {
    let fixture = open(patient());
    let mut client = fixture.connect();
    client.send(post("wait"));
    fixture.entered.recv().unwrap();
    // More than the door's buffer holds, so that most of it is still in the kernel.
    let calls: String = (0..200).map(|n| post(&n.to_string())).collect();
    client.send(calls);
    thread::scope(|scope| {
        let closing = scope.spawn(|| fixture.door.close(PATIENCE));
        wait_until("the bell", || fixture.door.seats.bell().rung());
        fixture.go_on.send(()).unwrap();
        assert_eq!(client.answer(true).body, "waited");
        for n in 0..200 {
            let answer = client.answer(true);
            assert_eq!((answer.body, answer.head.contains("Connection: close")), (n.to_string(), n == 199));
        }
        client.closed();
        closing.join().unwrap();
    });
}

#[test]
fn a_call_is_in_flight_from_its_first_byte() {
    let fixture = open(patient());
    let mut client = fixture.connect_and_call();
    let call = post("slow to come");
    client.send(&call[..9]);
    thread::scope(|scope| {
        let closing = scope.spawn(|| fixture.door.close(PATIENCE));
        let addr = fixture.door.local_addr();
        wait_until("the port to be closed", || TcpStream::connect(addr).is_err());
        client.send(&call[9..]);
        let answer = client.answer(true);
        assert_eq!((answer.body.as_str(), answer.head.contains("Connection: close")), ("slow to come", true));
        client.closed();
        closing.join().unwrap();
    });
}

#[test]
fn a_call_that_crosses_the_end_meets_no_reset() {
    let fixture = open(patient());
    let mut client = fixture.connect_and_call();
    thread::scope(|scope| {
        let closing = scope.spawn(|| fixture.door.close(PATIENCE));
        assert!(!client.more().unwrap(), "the end is an end");
        // As if it had been on its way.
        client.send(post("late"));
        client.send(post("later"));
        assert!(!client.more().unwrap(), "and still is");
        closing.join().unwrap();
    });
}

#[test]
fn under_load_every_call_is_answered_in_full_or_not_at_all() {
    for round in 0..10 {
        let Fixture { door, .. } = open(patient());
        let addr = door.local_addr();
        let (started, all_started) = channel();
        thread::scope(|scope| {
            for _ in 0..16 {
                let started = started.clone();
                scope.spawn(move || {
                    let mut client = Client::to(addr);
                    for n in 0_u64.. {
                        client.send(post(&n.to_string()));
                        // The door may have ended its side just before it would have seen this call.
                        if client.ahead.is_empty() && !client.more().unwrap() {
                            break;
                        }
                        let answer = client.answer(true);
                        assert_eq!(answer.body, n.to_string());
                        if n == 5 {
                            started.send(()).unwrap();
                        }
                        if answer.head.contains("Connection: close") {
                            assert!(!client.more().unwrap(), "nothing follows the last answer");
                            break;
                        }
                    }
                });
            }
            for _ in 0..16 {
                all_started.recv_timeout(PATIENCE).unwrap();
            }
            door.close(PATIENCE);
            assert_eq!(door.connections(), 0, "round {round}");
        });
    }
}
