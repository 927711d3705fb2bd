//! Random schedules of a cluster on a table, checked by the order of timestamps. The scripts of the register are run with
//! those of the board, on the same table.

use proptest::prelude::*;

use crate::protocol::eventual::tests::world::World;
use crate::protocol::eventual::{self};
use crate::protocol::register::Timestamp;
use crate::protocol::types::Value;

/// The timestamp in a line such as `8000: read 5 of 3.8001` or `8000: written, 3.8001`.
fn timestamp(line: &str) -> Option<Timestamp> {
    line.rsplit(' ').next()?.parse().ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// One client, so that each call begins after the last has ended: what is read never falls behind, and what is
    /// written is above it.
    #[test]
    fn timestamps_rise(choices in prop::collection::vec(any::<(u8, u8, u8)>(), 1..60)) {
        let mut world = World::new(5, eventual::Options::default());
        let ids = world.ids();
        let mut last: Option<Timestamp> = None;
        for (number, &(kind, at, other)) in choices.iter().enumerate() {
            let (at, other) = (ids[usize::from(at) % 5], ids[usize::from(other) % 5]);
            match kind % 6 {
                0 if world.is_up(at) => world.crash(at),
                0 => world.start(at),
                1 => world.cut(at, other),
                2 => world.heal(),
                _ if !world.is_up(at) => {}
                kind => {
                    world.text.clear();
                    let value = Value::new(&number.to_string());
                    world.call(at, |register, request, out| match kind {
                        3 => register.write(request, "x", value, 10, out),
                        _ => register.read(request, "x", 10, out),
                    });
                    (0..10).for_each(|_| world.tick());
                    let line = world.text.lines().find(|line| line.contains(": ")).unwrap_or_default();
                    if line.contains("written") {
                        prop_assert!(timestamp(line) > last, "{line} after {last:?}");
                        last = timestamp(line);
                    } else if line.contains("read") {
                        prop_assert!(timestamp(line) >= last, "{line} after {last:?}");
                        last = timestamp(line);
                    }
                }
            }
        }
    }
}
