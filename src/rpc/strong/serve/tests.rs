use std::sync::Arc;

use super::*;
use crate::protocol::types::Value;
use crate::rpc::faults::FaultKind;
use crate::service::command::{Action, Command};
use crate::service::reply::Resource;

const NAME: &str = "press";
const MS: u64 = 1000;

fn at(counter: u64) -> Position {
    Position { epoch: 1, counter }
}

/// Services whose log has an entry for each of these, the first at counter 1, each a millisecond after the one before.
fn services<'a>(actions: impl IntoIterator<Item = Action<'a>>) -> Services {
    let mut services = Services::default();
    for (counter, action) in (1..).zip(actions) {
        let command = Command { request: None, time_ms: counter, author: 1, action };
        let reply = services.apply(at(counter), &command.encode(), &mut Vec::new());
        assert!(!matches!(reply, Reply::Refused(_)), "{reply:?}");
    }
    services
}

fn acquire(owner: &str, wait_ms: u64) -> Action<'_> {
    Action::LockAcquire { name: NAME, owner, ttl_ms: MS, wait_ms }
}

fn release(owner: &str) -> Action<'_> {
    Action::LockRelease { name: NAME, owner, token: None }
}

/// `bob`, who was put into the queue by the entry with this counter.
fn bob(counter: u64, position: u64) -> Queued {
    Queued { at: at(counter), position, name: NAME.to_owned(), owner: "bob".to_owned() }
}

fn waits(position: u64) -> LockAnswer {
    LockAnswer { granted: false, token: None, position: Some(position) }
}

const GAVE_UP: LockAnswer = LockAnswer { granted: false, token: None, position: None };

#[test]
fn a_request_id_is_a_client_and_a_number() {
    for (text, client, sequence) in [
        ("printer-3/17", "printer-3", 17),
        ("a/0", "a", 0),
        ("host/7/2", "host/7", 2),
        ("Ü n/18446744073709551615", "Ü n", u64::MAX),
        // The number is what is after the last stroke.
        ("//1", "/", 1),
    ] {
        assert_eq!(request_key(text), Ok(RequestKey { client, sequence }), "{text}");
    }
}

#[test]
fn what_is_no_request_id_is_a_bad_option() {
    for text in ["", "/", "a", "a/", "/1", "a/-1", "a/1.0", "a/ 1", "a/x", "a/18446744073709551616", "17"] {
        let fault = request_key(text).unwrap_err();
        assert_eq!(fault.code, BAD_OPTION.code, "{text}");
        assert!(fault.string.contains("client/sequence"), "{}", fault.string);
    }
}

/// One of each, with the fault that a client gets. A new refusal does not compile before it is in here.
fn refusals() -> Vec<(Refusal, FaultKind)> {
    let name: Arc<str> = NAME.into();
    let all = vec![
        (Refusal::Malformed, BAD_OPTION),
        (Refusal::Compare { key: name.clone(), wanted: 3, current: Some(4) }, COMPARE),
        (Refusal::Compare { key: name.clone(), wanted: 3, current: None }, COMPARE),
        (Refusal::NoPost { id: 7 }, NOT_FOUND),
        (Refusal::FileExists { name: name.clone() }, EXISTS),
        (Refusal::NoFile { name: name.clone() }, NOT_FOUND),
        (Refusal::TokenOld { token: 5, lock: Some(name.clone()), newest: Some(6) }, FENCED),
        (Refusal::TokenOld { token: 5, lock: None, newest: None }, FENCED),
        (Refusal::NotHolder { name: name.clone(), owner: "bob".into(), holder: Some(("eve".into(), 6)) }, NOT_HOLDER),
        (Refusal::NotHolder { name: name.clone(), owner: "bob".into(), holder: None }, NOT_HOLDER),
        (Refusal::Superseded { client: name.clone(), sequence: 3, last: 4 }, SUPERSEDED),
        (Refusal::Reused { client: name, sequence: 3 }, REUSED),
        (Refusal::TooLarge { what: Resource::Value, bytes: 9, most: 8 }, TOO_LARGE),
        (Refusal::BadName { what: Resource::Key }, BAD_OPTION),
        (Refusal::BadTime { what: Resource::Ttl, ms: 0, least: 1, most: 8 }, BAD_OPTION),
        (Refusal::Full { what: Resource::Keys, most: 8 }, FULL),
        (Refusal::Forgotten { since: 3, oldest: 4 }, FORGOTTEN),
        (Refusal::NoRoom, DISK_FULL),
    ];
    for (refusal, _) in &all {
        match refusal {
            Refusal::Malformed
            | Refusal::Compare { .. }
            | Refusal::NoPost { .. }
            | Refusal::FileExists { .. }
            | Refusal::NoFile { .. }
            | Refusal::TokenOld { .. }
            | Refusal::NotHolder { .. }
            | Refusal::Superseded { .. }
            | Refusal::Reused { .. }
            | Refusal::TooLarge { .. }
            | Refusal::BadName { .. }
            | Refusal::BadTime { .. }
            | Refusal::Full { .. }
            | Refusal::Forgotten { .. }
            | Refusal::NoRoom => {}
        }
    }
    all
}

#[test]
fn each_refusal_has_its_fault_and_keeps_its_words() {
    for (refusal, kind) in refusals() {
        assert_eq!(refused(&refusal), kind.fault(refusal.to_string()));
        // What was refused did not happen; only of what a later call overtook nobody knows.
        assert_eq!(kind.definite, !matches!(refusal, Refusal::Superseded { .. }), "{refusal}");
        assert_eq!(answer(Reply::Refused(refusal.clone())), Err(refused(&refusal)));
    }
}

#[test]
fn an_outcome_tells_the_answer_or_the_fault() {
    let Answer::Outcome(applied) = outcome(Outcome::Applied { at: at(4), reply: Reply::Put { at: at(4), version: 2 } })
    else {
        panic!("not an outcome")
    };
    assert!(applied.applied && applied.fault_code.is_none() && applied.last.is_none());
    let put = Wrote { epoch: 1, counter: 4, version: Some(2), ..Wrote::default() };
    assert_eq!(applied.answer, Some(Answer::Wrote(put)));

    let reply = Reply::Refused(Refusal::NoPost { id: 7 });
    let Answer::Outcome(refused) = outcome(Outcome::Applied { at: at(4), reply }) else { panic!("not an outcome") };
    assert_eq!((refused.applied, refused.answer, refused.fault_code), (true, None, Some(NOT_FOUND.code)));
    assert!(refused.fault_string.is_some_and(|text| text.contains("no post 7")));

    for (found, last) in [
        (Outcome::Superseded { last: 9 }, Some(9)),
        (Outcome::NotApplied { last: Some(3) }, Some(3)),
        (Outcome::NotApplied { last: None }, None),
    ] {
        let Answer::Outcome(found) = outcome(found) else { panic!("not an outcome") };
        let none = OutcomeAnswer { applied: false, answer: None, fault_code: None, fault_string: None, last };
        assert_eq!(*found, none);
    }
}

#[test]
fn who_waits_is_told_when_the_lock_is_granted() {
    let waiting = [acquire("eve", 0), acquire("bob", MS)];
    assert_eq!(standing(&services(waiting), &bob(2, 1), false), None, "while eve has it");
    let granted = services(waiting.into_iter().chain([release("eve")]));
    let answer = standing(&granted, &bob(2, 1), false).unwrap();
    let token = granted.locks_list()[0].token;
    assert_eq!(answer, LockAnswer { granted: true, token: Some(token), position: None });
}

#[test]
fn who_waits_in_vain_is_told_its_place_of_now() {
    let waiting = [acquire("eve", 0), acquire("ann", MS), acquire("bob", MS)];
    assert_eq!(standing(&services(waiting), &bob(3, 2), true), Some(waits(2)));
    let moved_up = services(waiting.into_iter().chain([release("ann")]));
    assert_eq!(standing(&moved_up, &bob(3, 2), false), None);
    assert_eq!(standing(&moved_up, &bob(3, 2), true), Some(waits(1)));
}

#[test]
fn who_waits_no_longer_is_told_at_once() {
    let queue = [acquire("eve", 0), acquire("bob", MS)];
    let gave_up = services(queue.into_iter().chain([release("bob")]));
    assert_eq!(standing(&gave_up, &bob(2, 1), false), Some(GAVE_UP), "bob left the queue");
    let nobody = services(queue.into_iter().chain([release("bob"), release("eve")]));
    assert_eq!(standing(&nobody, &bob(2, 1), false), Some(GAVE_UP), "nobody has the lock any more");
    // The queue lets nobody wait longer than asked for: by the log's own time.
    let later = services([acquire("eve", 0), acquire("bob", 1), Action::Expire, Action::Expire]);
    assert_eq!(standing(&later, &bob(2, 1), false), Some(GAVE_UP), "the time is over");
}

/// A node may be behind the leader that answered. What it shows then is from before the waiting began: in particular a
/// grant that the owner has long released, whose token no write should carry.
#[test]
fn a_node_that_is_behind_does_not_take_an_old_grant_for_the_new_one() {
    let behind = services([acquire("bob", 0)]);
    assert_eq!(standing(&behind, &bob(4, 1), false), None);
    assert_eq!(standing(&behind, &bob(4, 1), true), Some(waits(1)));
    let there = services([acquire("bob", 0), release("bob"), acquire("eve", 0), acquire("bob", MS), release("eve")]);
    let answer = standing(&there, &bob(4, 1), false).unwrap();
    assert!(answer.granted && answer.token > Some(behind.locks_list()[0].token), "{answer:?}");
    assert_eq!(standing(&services([]), &bob(1, 1), false), None, "nor a lack of locks for an end of the waiting");
}

#[test]
fn a_token_is_for_keys_and_files_only() {
    let text = || "x".to_owned();
    let value = Value::new("<string>x</string>");
    for write in [
        Write::Put { key: text(), value: value.clone() },
        Write::Delete { key: text() },
        Write::Cas { key: text(), version: 1, value },
        Write::Post { text: text() },
        Write::Modify { id: 1, text: text() },
        Write::Unpost { id: 1 },
        Write::Create { name: text() },
        Write::Append { name: text(), line: text() },
        Write::Remove { name: text() },
        Write::Acquire { name: text(), owner: text(), ttl_ms: 1, wait_ms: 1 },
        Write::Renew { name: text(), owner: text(), token: None, ttl_ms: None },
        Write::Release { name: text(), owner: text(), token: None },
    ] {
        let fence = Fence { token: 7, lock: None };
        let carried = format!("{:?}", write.command(None, Some(fence), 1)).contains("Fence");
        assert_eq!(write.takes_a_fence(), carried, "{write:?}");
    }
}
