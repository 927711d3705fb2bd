//! Who hears a definite answer.

use super::world::World;

/// A client that joins between two ballots of a value that an Accept has already carried must not be told that the value
/// was definitely not written.
#[test]
fn a_value_that_has_left_is_unknown_to_whoever_joins_later() {
    let script = "
cluster nodes=3
propose 8000 A
(deliver prepare)
(deliver promise)
(deliver to=8001 accept)
(deliver to=8002 accept)
(drop)
tick 40
propose 8000 A deadline=2
tick 2
---
";
    let told = goldenscript::generate(&mut World::default(), script).unwrap();
    assert!(told.contains("8000 answers #2: unknown since 1.8000"), "{told}");
}
