//! Defects put in on purpose: a suite that has never failed proves nothing.
//!
//! Where a protocol could go wrong it says `mutant!(NameOfTheDefect)`. Outside tests that is the literal `false`, so
//! nothing of it is compiled in. In tests it is true while `with` runs something with that defect; each thread has its
//! own, so that seeds can run side by side. `cargo test mutants` looks for every defect in three ways (seeds of the
//! simulation, golden scripts, the model) and prints who found what, and how soon.
//!
//! Defects in the *order* of effects need no mark in a protocol: `tamper` drops the `Save` in question from a step's
//! effects, or moves it to their end.
//!
//! # To add a mutant
//!
//! Name it in the list below, with what it does and who must find it, and write `mutant!(Name)` where it strikes (or add
//! its record to `tamper`). If nothing finds it, it changes nothing that matters, or the suite misses something: find
//! out which.

/// Whether a defect is put in at present; `false`, literally, outside tests.
#[cfg(test)]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutants::is_active($crate::mutants::Mutant::$name)
    };
}

/// Whether a defect is put in at present; `false`, literally, outside tests.
#[cfg(not(test))]
macro_rules! mutant {
    ($name:ident) => {
        false
    };
}

#[cfg(test)]
pub(crate) use switch::*;

#[cfg(test)]
mod switch {
    use std::cell::Cell;
    use std::sync::Once;

    use crate::protocol::log::memory::Record as log;
    use crate::protocol::{Effect, Message, Record, paxos};

    /// Who must find a defect.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Finder {
        /// The seeds of the simulation.
        Seeds,
        /// The seeds of the simulation, by the invariant that nothing is heard before it is saved.
        SeedsByDisk,
        /// Golden scripts and tables: among honest nodes it never shows.
        Scripts,
        /// The scripts and properties of elections.
        Elections,
        /// The scripts and seeds of the eventual board and the quorum registers.
        Weak,
        /// The seeds of simulated elections.
        ElectionSeeds,
        /// The seeds of the simulation of the replicated log.
        LogSeeds,
        /// The same, by the invariant that nothing is heard before it is saved.
        LogSeedsByDisk,
        /// The scripts and tables of the overlays.
        Overlays,
        /// The seeds of the simulation of overlays.
        OverlaySeeds,
    }

    macro_rules! mutants {
        ($($name:ident: $what:literal, $finder:expr;)*) => {
            /// A defect.
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub(crate) enum Mutant {
                $(#[doc = $what] $name,)*
            }

            impl Mutant {
                /// All there are.
                pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

                /// What is wrong, in words.
                pub(crate) const fn what(self) -> &'static str {
                    match self { $(Self::$name => $what,)* }
                }

                /// Who must find it.
                pub(crate) const fn finder(self) -> Finder {
                    match self { $(Self::$name => $finder,)* }
                }
            }
        };
    }

    use Finder::{
        ElectionSeeds, Elections, LogSeeds, LogSeedsByDisk, OverlaySeeds, Overlays, Scripts, Seeds, SeedsByDisk, Weak,
    };

    mutants! {
        PromisesLower: "promises a ballot below its promise", Seeds;
        PromiseHidesAccepted: "promises without telling what it accepted", Seeds;
        AcceptsLower: "accepts a ballot below its promise", Seeds;
        AcceptsTwoValues: "accepts a second value in one ballot", Scripts;
        AcceptKeepsPromise: "accepts without raising the promise", Seeds;
        AnyonesBallot: "answers a ballot that is not the sender's", Scripts;
        BallotsLeap: "believes a ballot however high", Scripts;
        PromiseUnsaved: "never saves a promise to another", SeedsByDisk;
        PromiseBeforeSave: "saves a promise after it was sent", SeedsByDisk;
        BallotUnsaved: "never saves the promise to itself", SeedsByDisk;
        BallotBeforeSave: "saves the promise to itself after Prepare left", SeedsByDisk;
        AcceptUnsaved: "never saves an acceptance", SeedsByDisk;
        AcceptBeforeSave: "saves an acceptance after it was sent", SeedsByDisk;
        SavesPromiseAgain: "saves a promise that stands again", Scripts;
        SavesAcceptanceAgain: "saves an acceptance that stands again", Scripts;
        BallotBelowPromise: "picks a ballot without looking at its own promise", Seeds;
        BallotUsedAgain: "tries again with the same round", Seeds;
        OwnAcceptanceForgotten: "adopts nothing from its own acceptor", Seeds;
        CountsTwice: "counts a node that answers twice as two", Seeds;
        MajorityMinusOne: "takes one less than a majority for one", Seeds;
        LatePromiseCounts: "counts a promise of another ballot", Seeds;
        AcceptedAcrossBallots: "counts an acceptance of another ballot", Seeds;
        AcceptBeforeMajority: "sends Accept before a majority promised", Seeds;
        AdoptsNothing: "proposes its client's value whatever was accepted", Seeds;
        AdoptsLowest: "adopts the lowest accepted ballot", Seeds;
        AdoptsLast: "adopts the promise that arrives last", Seeds;
        CommitBeforeMajority: "commits before a majority accepted", Seeds;
        StrangersVote: "counts the vote of who is no member", Scripts;
        LateRejectStops: "gives up its ballot for the rejection of another", Scripts;
        RejectTeachesNothing: "does not climb above the ballot that rejected it", Scripts;
        OfferForgotten: "calls a proposal definitely refused whose Accept left", Seeds;
        DecisionUnsaved: "never saves a decision that a client is told", Seeds;
        DecisionBeforeSave: "tells who asks of a decision before it is saved", Scripts;
        TellsWhatWasNoted: "tells a client of a decision that was only noted", Seeds;
        DecidesAgain: "lets a second decision replace the first", Seeds;
        LearnerMinusOne: "learns from one acceptance less than a majority", Seeds;
        LearnerAddsUpBallots: "learns by adding up acceptances of several ballots", Seeds;
        LearnsFromStrangers: "learns from who is no member", Scripts;
        StrangersHeard: "listens to who is no member", Scripts;
        EarlierGenerationHeard: "listens to what was said before a restart", Seeds;
        LaterGenerationHeard: "listens to a later generation without following", Seeds;
        RestartForgetsNothing: "moves to a new generation with its old memory", Seeds;
        GenerationUnsaved: "never saves that it moved to a new generation", Seeds;
        GenerationBeforeSave: "speaks out of a new generation before it is saved", Seeds;
        ServiceFollows: "follows a restart although it is in service", Scripts;
        // Bully.
        StandsIneligible: "stands for election without a majority", ElectionSeeds;
        AnswersIneligible: "takes over from a candidate without a majority", ElectionSeeds;
        WinsIneligible: "wins without a majority", ElectionSeeds;
        CountsItselfTwice: "counts itself twice for its majority", ElectionSeeds;
        HearsOneWay: "counts whom it hears, whether or not they hear it", Elections;
        KeepsLostMajority: "coordinates on without its majority", Elections;
        VouchesIgnored: "does not believe a peer that hears the coordinator", ElectionSeeds;
        OldVouchesCount: "believes a voucher of before the coordinator died", Elections;
        StandsUnasked: "stands before it has asked whether anybody hears the coordinator", Elections;
        LowerRankWins: "stands back for a lower rank, and takes over from a higher one", ElectionSeeds;
        IdBeforeKnowledge: "compares ids before knowledge", Elections;
        PreemptsUnasked: "stands against a coordinator of lower rank without being told to", ElectionSeeds;
        WinsUnanswered: "wins before anybody has answered", Elections;
        WinsByMajority: "wins without waiting for who has not answered", Elections;
        StandsForEach: "stands once more for each candidate by force", Elections;
        LateAnswerCounts: "counts an answer to an earlier election", Elections;
        WinnerStandsBack: "stands back although it has won", Elections;
        WaitsForEver: "waits for ever for the winner's Coordinator", Elections;
        WaitsForTheDead: "waits for the answer of who has died", Elections;
        LastWordsCount: "listens to what a dead peer had said", Elections;
        SilenceTooShort: "takes a peer for dead after 100 ms", Elections;
        CoordinatorFallsSilent: "sends no heartbeats as coordinator", ElectionSeeds;
        OldEpochBelieved: "believes the coordinator of an earlier epoch", Elections;
        ResignedBelieved: "believes in an epoch that was resigned", Elections;
        RestartGoesUnsaid: "does not say that it no longer coordinates after a restart", Elections;
        AnyonesWord: "listens to who speaks for another", Elections;
        EpochsLeap: "believes an epoch however high", Elections;
        VictoryIsAuthority: "coordinates before its epoch is promised", ElectionSeeds;
        // The replicated log.
        EpochPromisedLower: "promises an epoch below its promise", LogSeeds;
        EpochAcceptedLower: "accepts entries of an epoch below its promise", LogSeeds;
        EpochPromiseUnsaved: "never saves the promise of an epoch", LogSeedsByDisk;
        EpochPromiseBeforeSave: "saves the promise of an epoch after it was sent", LogSeedsByDisk;
        EntriesUnsaved: "never saves the entries that it accepts", LogSeedsByDisk;
        EntriesBeforeSave: "saves entries after it said that it has them", LogSeedsByDisk;
        BeginningUnsaved: "never saves the log with which an epoch begins", LogSeeds;
        BeginningBeforeSave: "saves the log with which an epoch begins after it said that it has it", LogSeeds;
        EpochUsedAgain: "campaigns again with the same epoch", LogSeeds;
        EpochBeforeMajority: "begins an epoch before a majority promised", LogSeeds;
        LatePromiseOfEpochCounts: "counts a promise of another epoch", Scripts;
        CountsNonVoters: "counts the promise of a node that may not vote", LogSeeds;
        BlankVotes: "votes without a memory", LogSeedsByDisk;
        AdoptsShortestLog: "adopts the shortest of the logs of the highest epoch", LogSeeds;
        AdoptsLongestLog: "adopts the longest log, whatever its epoch", Scripts;
        AdoptsOwnLog: "adopts its own log", LogSeeds;
        SynchronisesInPart: "takes a part of the log with which an epoch began", LogSeeds;
        ChainUnchecked: "does not look whether entries continue its log", Scripts;
        UnflushedKept: "keeps what it appended as leader and never wrote", LogSeeds;
        AcceptedAcrossEpochs: "counts an acceptance of another epoch", Scripts;
        FollowerCountsTwice: "counts one follower as two", LogSeeds;
        CommitsMinusOne: "commits what one less than a majority accepted", LogSeeds;
        CommitsByPromises: "commits entries of an earlier epoch by counting who holds them", LogSeeds;
        CommitsBeyondLength: "takes more for committed than it has", LogSeeds;
        AppliesUncommitted: "applies what is not committed", LogSeeds;
        ReadsUnconfirmed: "reads without asking whether it still leads", Scripts;
        ReadsBeforeEpochCommits: "reads before its epoch has committed anything", Scripts;
        ReadJoinsRunningRound: "lets a read join a round of confirmations that runs", Scripts;
        ConfirmedAcrossRounds: "counts the confirmation of an earlier round", Scripts;
        ConfirmsDeposed: "confirms a leader although it promised a higher epoch", LogSeeds;
        CompactsAll: "forgets also the entries behind the snapshot", LogSeeds;
        SnapshotOfEarlierSlot: "names an earlier slot in a snapshot", LogSeeds;
        SnapshotOfLaterSlot: "names in a snapshot the slot that it had applied when that was ready", LogSeeds;
        SnapshotOfAnotherLog: "takes a snapshot of a log that it has no more", Scripts;
        // Calls and services.
        AnswersByAnyEntry: "answers a call by another entry that took its slot", LogSeeds;
        ExposureForgotten: "says that a call did not happen which an earlier leader may have", Scripts;
        WithheldIsRefused: "says that what it applied did not happen, when the disk is full", Scripts;
        SentIsRefused: "says that what it sent did not happen, when the disk is full", LogSeeds;
        ForwardsTwice: "forwards a call without a request id twice", LogSeeds;
        AppliesByOwnTime: "ends locks by its own clock", LogSeeds;
        SnapshotForgetsRequests: "leaves the answers to requests out of snapshots", LogSeeds;
        RequestsForgottenAtOnce: "forgets the answer to a request when another client calls", LogSeeds;
        TokenUsedAgain: "uses a fencing token again after a release", LogSeeds;
        TokenUnchecked: "writes whatever the fencing token", LogSeeds;
        // The eventual board and the quorum registers.
        LastArrivalWins: "board: lets the operation stand that arrives last", Weak;
        StampsBeatDeletes: "board: lets a higher stamp bring a deleted entry back", Weak;
        CoveredComesBack: "board: takes an old operation of an entry that was deleted and forgotten", Weak;
        ForgetsThatItForgot: "board: drops tombstones that not everyone has seen, and does not say so", Weak;
        ForgetsTooSoon: "board: drops tombstones that not everyone has seen, and says so", Weak;
        NeverAstray: "board: does not notice that it was away longer than tombstones are kept", Weak;
        ClockSeesNothing: "board: stamps without looking at what it has seen", Weak;
        ClockLeaps: "board: believes a clock however high", Weak;
        GapsIgnored: "board: takes an operation although one before it is missing", Weak;
        CoversBeforeTheEnd: "board: covers what it was told only the first page of", Weak;
        ErasIgnored: "board: goes on being told everything although tombstones went meanwhile", Weak;
        UncoveredUntold: "board: keeps to itself what it shows and does not cover", Weak;
        LossForgiven: "board: is content with whoever tells it first of what it has lost", Weak;
        FoundersForEver: "board: goes by the members that founded the cluster", Weak;
        NewcomerWrites: "board: joins, and takes operations before it was told what there is", Weak;
        BoardUnsaved: "board: never saves an operation", Weak;
        BoardBeforeSave: "board: saves an operation after others have heard of it", Weak;
        ReadsDoNotWriteBack: "register: returns what it read without writing it back", Weak;
        ReadQuorumMinusOne: "register: asks one node less than a read quorum", Weak;
        WriteQuorumMinusOne: "register: is content with one node less than a write quorum", Weak;
        ReadTakesTheFirst: "register: returns the first answer instead of the highest", Weak;
        WritesWithoutAsking: "register: writes above its own copy only", Weak;
        OwnTimestampForgotten: "register: writes without looking at its own copy", Weak;
        StoresLower: "register: lets a lower timestamp replace a higher one", Weak;
        RegisterUnsaved: "register: never saves what it holds", Weak;
        RegisterBeforeSave: "register: saves what it holds after it said that it does", Weak;
        DhtOlderReplaces: "lets an older version of a key replace a newer one", Overlays;
        DhtKeepsPredecessor: "does not take a closer predecessor", Overlays;
        DhtRingsStayApart: "never looks at its ring from outside", Overlays;
        DhtEntersUnplaced: "is part of the ring before it has found its places in it", Overlays;
        DhtSaysNothingOutside: "does not tell a ring that does not know its place", Overlays;
        DhtForgetsFingers: "names only points from its lists of successors", Overlays;
        DhtRoutesToTheDead: "names nodes that its asker has found silent", Overlays;
        DhtFingersStay: "never looks a finger up again", Overlays;
        DhtTwoCopies: "writes to one owner less than there are", Overlays;
        DhtOneCopyIsEnough: "acknowledges a set when one owner has it", Overlays;
        DhtFirstAnswerCounts: "answers a get with what the first owner has", Overlays;
        DhtRepairsNothing: "leaves an owner with the old version that it read", Overlays;
        DhtLeavesUnsaid: "leaves the ring without a word", Overlays;
        FloodPassesOnAgain: "passes on a query that it has seen", Overlays;
        FloodLivesForEver: "does not count down the time to live", Overlays;
        FloodFirstHitCounts: "takes the first answer for the newest", Overlays;
        FloodStampsAnew: "sets a key without looking for a newer version", Overlays;
        FloodHoldsUnsaved: "never saves what was set here", Overlays;
        RestartForgetsKeys: "forgets keys, told to restart in a generation that it followed into", OverlaySeeds;
        DhtLateAnswersCount: "counts a confirmation of an earlier attempt", Overlays;
        DhtLeavesWithKeys: "has left, when it starts again, with the keys that it was to hand over", Overlays;
        NumbersFollowWhatIsHeld: "stamps a version only by what is held", Overlays;
        NumbersUnreserved: "never saves which numbers it may have given", Overlays;
        IndexEntersAgain: "enters a serial number again that is used up", Overlays;
        IndexEntersEarlier: "enters a copy that its holder has replaced since", Overlays;
        IndexOlderReplaces: "replaces a copy by one with an earlier serial number", Overlays;
        IndexStrikesAny: "strikes out an entry that it was not told of", Overlays;
        IndexLeavesCopies: "has a copy kept that another holder has superseded", Overlays;
        IndexDropsAny: "drops a copy whatever its serial number", Overlays;
        IndexKeepsFirst: "keeps the first holder of a key", Overlays;
        IndexEntryUnsaved: "never saves an entry", Overlays;
        IndexEntersUnsaved: "enters a value that it has not saved", Overlays;
        IndexStrikesNothing: "confirms a removal and keeps the entry", Overlays;
    }

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    pub(crate) fn is_active(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }

    /// From now on a panic of what runs with a defect makes no noise.
    pub(crate) fn quiet() {
        static QUIET: Once = Once::new();
        QUIET.call_once(|| {
            let loud = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if ACTIVE.get().is_none() {
                    loud(info);
                }
            }));
        });
    }

    /// Runs something with this defect, on this thread.
    pub(crate) fn with<T>(mutant: Option<Mutant>, run: impl FnOnce() -> T) -> T {
        /// Puts back what was there, also after a panic.
        struct Restore(Option<Mutant>);
        impl Drop for Restore {
            fn drop(&mut self) {
                ACTIVE.set(self.0);
            }
        }
        let _restore = Restore(ACTIVE.replace(mutant));
        run()
    }

    /// Drops the `Save` that the present defect is about from a step's effects, or moves it behind them.
    pub(crate) fn tamper(effects: &mut Vec<Effect>) {
        let Some(mutant) = ACTIVE.get() else { return };
        let prepares = |effect: &Effect| {
            matches!(effect, Effect::Send { message: Message::Paxos(paxos::Message::Prepare { .. }), .. })
        };
        let own = effects.iter().any(prepares);
        let is_meant = |effect: &Effect| {
            let Effect::Save(record) = effect else { return false };
            match mutant {
                Mutant::PromiseUnsaved | Mutant::PromiseBeforeSave => matches!(record, Record::Promise { .. }) && !own,
                Mutant::BallotUnsaved | Mutant::BallotBeforeSave => matches!(record, Record::Promise { .. }) && own,
                Mutant::AcceptUnsaved | Mutant::AcceptBeforeSave => matches!(record, Record::Accept { .. }),
                Mutant::DecisionUnsaved | Mutant::DecisionBeforeSave => matches!(record, Record::Decide { .. }),
                Mutant::BoardUnsaved | Mutant::BoardBeforeSave => matches!(record, Record::Eventual(_)),
                Mutant::RegisterUnsaved | Mutant::RegisterBeforeSave => matches!(record, Record::Register(_)),
                Mutant::GenerationUnsaved | Mutant::GenerationBeforeSave => {
                    matches!(record, Record::Generation { .. })
                }
                Mutant::EpochPromiseUnsaved | Mutant::EpochPromiseBeforeSave => {
                    matches!(record, Record::Log(log::Promise { .. }))
                }
                Mutant::EntriesUnsaved | Mutant::EntriesBeforeSave => {
                    matches!(record, Record::Log(log::Append { .. }))
                }
                Mutant::BeginningUnsaved | Mutant::BeginningBeforeSave => {
                    matches!(record, Record::Log(log::Sync { .. } | log::Install { .. }))
                }
                _ => false,
            }
        };
        let (mut late, rest): (Vec<Effect>, Vec<Effect>) = effects.drain(..).partition(is_meant);
        *effects = rest;
        let moves = matches!(
            mutant,
            Mutant::PromiseBeforeSave
                | Mutant::BallotBeforeSave
                | Mutant::AcceptBeforeSave
                | Mutant::DecisionBeforeSave
                | Mutant::GenerationBeforeSave
                | Mutant::EpochPromiseBeforeSave
                | Mutant::EntriesBeforeSave
                | Mutant::BeginningBeforeSave
                | Mutant::BoardBeforeSave
                | Mutant::RegisterBeforeSave
        );
        if moves {
            effects.append(&mut late);
        }
    }
}

#[cfg(test)]
mod tests;
