//! What breaks, line by line.

use super::super::faults::{Ends, Fault, Way};
use super::*;

fn ports(numbers: &[u32]) -> Vec<Port> {
    numbers.iter().map(|&number| port(number)).collect()
}

fn way(from: &[u32], to: &[u32]) -> Way {
    let ends = |numbers: &[u32]| if numbers.is_empty() { Ends::All } else { Ends::Ports(ports(numbers)) };
    Way { from: ends(from), to: ends(to), both: false }
}

#[test]
fn links() {
    let fault = Command::Fault;
    let both = |way: Way| Way { both: true, ..way };
    let delay = |ms, way| fault(Fault::Delay { delay: Duration::from_millis(ms), way });
    let hold = |kind: &str, way| fault(Fault::Hold { kind: kind.to_owned(), way });
    check(&[
        ("cut 8000 -> 8001", fault(Fault::Cut(way(&[8000], &[8001])))),
        ("CUT 8000->8001", fault(Fault::Cut(way(&[8000], &[8001])))),
        ("cut 8000 <-> 8001 , 8002", fault(Fault::Cut(both(way(&[8000], &[8001, 8002]))))),
        ("cut all -> 8001", fault(Fault::Cut(way(&[], &[8001])))),
        ("delay 200ms 8000 -> 8001", delay(200, way(&[8000], &[8001]))),
        ("delay 60s All <-> ALL", delay(60_000, both(way(&[], &[])))),
        ("drop 30% 8000 -> 8001", fault(Fault::Drop { percent: 30, way: way(&[8000], &[8001]) })),
        ("hold accept 8000 -> 8001", hold("accept", way(&[8000], &[8001]))),
        ("hold LOG.accept 8000 -> all", hold("log.accept", way(&[8000], &[]))),
        ("partition 8000,8001 | 8002", fault(Fault::Partition(vec![ports(&[8000, 8001]), ports(&[8002])]))),
        ("partition 1|2|3", fault(Fault::Partition(vec![ports(&[1]), ports(&[2]), ports(&[3])]))),
        ("pause 8000", fault(Fault::Pause(port(8000)))),
    ]);
    for line in ["partition 1,2 | 3", "cut 1 <-> 2,3", "delay 5ms all -> 1", "drop 0% 1 -> 2", "hold learn 1 -> all"] {
        let command = parse(line).unwrap().unwrap();
        assert_eq!(command.to_string(), line);
    }
}

#[test]
fn mistakes() {
    check_errors(&[
        ("cut 8000 8001", "written 8000 -> 8001"),
        ("cut 8000 -> ", "must be a number"),
        ("cut 8000 -> 8000", "always hears itself"),
        ("cut 8000 -> 8001 x", "must be a number"),
        ("partition 8000", "at least two parts"),
        ("partition 8000 |", "must be a number"),
        ("partition 8000 | 8000", "in two parts"),
        ("delay 5 1 -> 2", "200ms or 2s"),
        ("delay ms 1 -> 2", "200ms or 2s"),
        ("delay 61s 1 -> 2", "up to 60s"),
        ("delay 99999999999s 1 -> 2", "up to 60s"),
        ("drop 101% 1 -> 2", "from 0% to 100%"),
        ("drop 30 1 -> 2", "from 0% to 100%"),
        ("hold promise 1 -> 2", "what is held is prepare"),
        ("heal now", "one word too many"),
        ("pause", "port is missing"),
    ]);
}
