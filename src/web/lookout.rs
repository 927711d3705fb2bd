//! What the page shows, kept up to date for as long as somebody looks.
//!
//! All who look share one view. Whoever finds it old renews it, and the others take what is there: so a hundred open pages
//! cost what one does, and none costs nothing. The other nodes are asked by a thread that ends when they have answered.
//!
//! A panel that has changed gets the next version, which is the id of its event: a page that comes back with the last id
//! it has seen is sent what changed since, and nothing else. An id of an earlier start of the node is too old for that,
//! and all panels are sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use super::nodes::{Caller, Nodes};
use super::panels::{self, Panel};
use super::trace::{Traced, Tracer};
use super::view::{BoardStatus, Eventual, Services, View};
use crate::protocol::types::{Instance, NodeId};
use crate::rpc::access::Role;
use crate::rpc::answers::{InstanceRow, Status};
use crate::rpc::door::Stream;
use crate::rpc::lab::LinkRow;
use crate::xmlrpc::Fault;

/// How old the view of this node may be.
const AGE: Duration = Duration::from_millis(100);
/// How old the view of the other nodes may be.
const AGE_OF_OTHERS: Duration = Duration::from_millis(400);
/// How old it may be when a page is opened: then it is waited for.
const OLD: Duration = Duration::from_secs(2);
/// Streams that may be open at once; each holds a thread of the door, which has a thousand.
const MAX_STREAMS: usize = 64;
/// After so long a stream ends; the page opens another, which is sent what it has not seen.
const STREAM_LIFE: Duration = Duration::from_secs(600);
/// After so long without a word a stream says that it is still there.
const PULSE: Duration = Duration::from_secs(15);

/// The view, its panels, and who looks.
pub(super) struct Lookout {
    nodes: Arc<Nodes>,
    token: String,
    /// Names this start of the node.
    life: String,
    /// Held by whoever renews the view.
    renewing: Mutex<Renewed>,
    panels: Mutex<Panels>,
    others: Mutex<Others>,
    tracer: Arc<Tracer>,
    asking: Mutex<()>,
    streams: AtomicUsize,
}

/// What whoever renews the view needs from the last time.
#[derive(Default)]
struct Renewed {
    at: BTreeMap<bool, Instant>,
    /// What the services had, and as of what.
    services: Option<(Key, Arc<Services>)>,
    eventual: Option<Eventual>,
    /// The last state of the instances, by which the current one is found.
    rows: Option<BTreeMap<NodeId, Vec<InstanceRow>>>,
    current: Instance,
}

/// As long as this is the same, so are the services.
type Key = (u64, u64, String);

#[derive(Default)]
struct Panels {
    version: u64,
    all: BTreeMap<Panel, (u64, Arc<str>)>,
}

/// What the other nodes said, and when.
#[derive(Default)]
struct Others {
    at: Option<Instant>,
    said: BTreeMap<NodeId, Option<Status>>,
    boards: BTreeMap<NodeId, BoardStatus>,
    /// The links that fail, as administrators were told.
    links: BTreeMap<NodeId, Vec<LinkRow>>,
    links_at: Option<Instant>,
}

/// What has changed since an id.
#[derive(Serialize)]
pub(super) struct News {
    /// To ask with the next time.
    pub(super) id: String,
    /// The panels that have changed, with their HTML.
    pub(super) panels: Vec<Fresh>,
    /// What happened, if the caller wants to know it.
    pub(super) trace: Trace,
}

/// What happened at the nodes.
#[derive(Serialize)]
pub(super) struct Trace {
    /// The start of the node that numbers the events.
    life: String,
    events: Vec<Arc<Traced>>,
}

/// What somebody has seen.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// The last version of a panel.
    version: u64,
    /// The number of the last event, for a diagram.
    traced: u64,
}

/// A panel that has changed.
#[derive(Serialize)]
pub(super) struct Fresh {
    panel: &'static str,
    html: Arc<str>,
    #[serde(skip)]
    version: u64,
}

impl Lookout {
    pub(super) fn new(nodes: Arc<Nodes>, token: String, life: String) -> Self {
        Self {
            tracer: Arc::new(Tracer::new(Arc::clone(&nodes))),
            nodes,
            token,
            life,
            renewing: Mutex::default(),
            panels: Mutex::default(),
            others: Mutex::default(),
            asking: Mutex::default(),
            streams: AtomicUsize::new(0),
        }
    }

    /// The view as it is now, for a page that is being opened, with the instance that it asks for.
    ///
    /// # Errors
    /// This node does not answer, or may not answer this caller.
    pub(super) fn look(&self, caller: &Caller, instance: Option<Instance>) -> Result<View, Fault> {
        self.ask_others(caller, OLD);
        let mut renewed = self.renewing.lock();
        let view = self.view(caller, &mut renewed)?;
        Ok(match instance {
            Some(instance) => View { current: instance, ..view },
            None => view,
        })
    }

    /// What has changed since an id; all, if the id is of another life. With what happened, if the caller wants that.
    pub(super) fn news(self: &Arc<Self>, caller: &Caller, after: &str, with_trace: bool) -> News {
        self.renew(caller);
        let Seen { version: after, traced } = self.seen(after);
        let (traced, events) = match with_trace && caller.grant.includes(Role::Admin) {
            true => self.tracer.since(caller, traced),
            false => (traced, Vec::new()),
        };
        let trace = Trace { life: self.life.clone(), events };
        let panels = self.panels.lock();
        let is_for_caller = |panel: &Panel| caller.grant.includes(panel.role());
        let changed = panels.all.iter().filter(|(panel, (version, _))| *version > after && is_for_caller(panel));
        let mut fresh: Vec<Fresh> = changed
            .map(|(panel, (version, html))| Fresh { panel: panel.name(), html: Arc::clone(html), version: *version })
            .collect();
        // So that whoever is cut off between two of them has seen all up to the last id.
        fresh.sort_unstable_by_key(|fresh| fresh.version);
        let seen = Seen { version: panels.version.max(after), traced };
        News { id: self.id(seen), panels: fresh, trace }
    }

    /// The id of what is known now.
    pub(super) fn now(&self) -> String {
        self.id(Seen { version: self.panels.lock().version, traced: 0 })
    }

    /// A stream of what changes after an id; `None` if there are as many as may be.
    pub(super) fn stream(self: &Arc<Self>, caller: Caller, after: &str, with_trace: bool) -> Option<Events> {
        let open = |open: usize| (open < MAX_STREAMS).then_some(open + 1);
        self.streams.fetch_update(Ordering::AcqRel, Ordering::Acquire, open).ok()?;
        let (now, after) = (Instant::now(), after.to_owned());
        Some(Events { lookout: Arc::clone(self), caller, after, with_trace, opened: now, spoke: None })
    }

    /// Streams that are open.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    fn id(&self, Seen { version, traced }: Seen) -> String {
        format!("{}.{version}.{traced}", self.life)
    }

    fn seen(&self, id: &str) -> Seen {
        let mut parts = id.split('.');
        if parts.next() != Some(&*self.life) {
            return Seen::default();
        }
        let mut number = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        Seen { version: number(), traced: number() }
    }

    /// Makes the panels anew, unless they are young or somebody else is just doing it.
    fn renew(self: &Arc<Self>, caller: &Caller) {
        let Some(mut renewed) = self.renewing.try_lock() else { return };
        let is_admin = caller.grant.includes(Role::Admin);
        if renewed.at.get(&is_admin).is_some_and(|at| at.elapsed() < AGE) {
            return;
        }
        self.ask_others_aside(caller);
        // What cannot be had now stays as it was: a page that shows it says when it was last renewed.
        let Ok(view) = self.view(caller, &mut renewed) else { return };
        renewed.at.insert(is_admin, Instant::now());
        // What the caller may not see was not asked for, and stays as it was.
        let seen = Panel::ALL.into_iter().filter(|panel| caller.grant.includes(panel.role()));
        let drawn: Vec<_> = seen.map(|panel| (panel, panels::draw(panel, &view, &self.token))).collect();
        let mut panels = self.panels.lock();
        for (panel, html) in drawn {
            let is_same = panels.all.get(&panel).is_some_and(|(_, known)| **known == *html.as_str());
            if !is_same {
                panels.version += 1;
                let version = panels.version;
                panels.all.insert(panel, (version, html.into_string().into()));
            }
        }
    }

    fn view(&self, caller: &Caller, renewed: &mut Renewed) -> Result<View, Fault> {
        let here: Status = self.nodes.here(caller, "status", &())?;
        let log = here.log.as_ref();
        let key = log.map(|log| (here.generation, log.applied, log.state_hash.clone())).unwrap_or_default();
        let services = match renewed.services.take() {
            Some((known, services)) if known == key => services,
            _ => Arc::new(Services::read(&self.nodes, caller)?),
        };
        renewed.services = Some((key, Arc::clone(&services)));
        let (others, boards, mut links) = {
            let others = self.others.lock();
            (others.said.clone(), others.boards.clone(), others.links.clone())
        };
        renewed.eventual = Eventual::read(&self.nodes, caller, &boards, renewed.eventual.as_ref()).ok();
        let eventual = renewed.eventual.clone();
        if self.shows_links(caller) {
            links.insert(here.node, self.nodes.here(caller, "lab.link.list", &())?);
        }
        let rows = |status: &Status| (status.node, status.instances.clone());
        let rows = others.values().flatten().chain([&here]).map(rows).collect();
        renewed.current = current(renewed.rows.as_ref(), &rows, &renewed.current);
        renewed.rows = Some(rows);
        Ok(View { here, others, services, eventual, links, current: renewed.current.clone() })
    }

    /// Asks the other nodes, without waiting for them.
    fn ask_others_aside(self: &Arc<Self>, caller: &Caller) {
        if self.are_others_young(caller, AGE_OF_OTHERS) || self.asking.is_locked() {
            return;
        }
        let (lookout, caller) = (Arc::clone(self), caller.clone());
        let ask = move || lookout.ask_others(&caller, AGE_OF_OTHERS);
        if let Err(error) = thread::Builder::new().name("page-look".to_owned()).spawn(ask) {
            log::warn!("the page cannot ask the other nodes: {error}");
        }
    }

    /// Asks the other nodes, once for all who want to know, unless what they said is young.
    fn ask_others(&self, caller: &Caller, age: Duration) {
        let _one = self.asking.lock();
        if self.are_others_young(caller, age) {
            return;
        }
        let said = self.nodes.others(caller, "status", &());
        let boards: BTreeMap<NodeId, Option<BoardStatus>> = self.nodes.others(caller, "board.eventual.status", &());
        let links = self.shows_links(caller).then(|| self.nodes.others(caller, "lab.link.list", &()));
        let mut others = self.others.lock();
        (others.at, others.said) = (Some(Instant::now()), said);
        others.boards = boards.into_iter().filter_map(|(node, board)| Some((node, board?))).collect();
        if let Some(links) = links {
            others.links_at = others.at;
            others.links = links.into_iter().filter_map(|(node, links)| Some((node, links?))).collect();
        }
    }

    fn are_others_young(&self, caller: &Caller, age: Duration) -> bool {
        let others = self.others.lock();
        let is_young = |at: Option<Instant>| at.is_some_and(|at| at.elapsed() < age);
        is_young(others.at) && (is_young(others.links_at) || !self.shows_links(caller))
    }

    /// Whether there are links that fail on demand, and the caller may know them.
    fn shows_links(&self, caller: &Caller) -> bool {
        self.nodes.core.lab && caller.grant.includes(Role::Admin)
    }
}

/// The instance that changed last; before any has, the default one.
fn current(
    before: Option<&BTreeMap<NodeId, Vec<InstanceRow>>>,
    now: &BTreeMap<NodeId, Vec<InstanceRow>>,
    last: &Instance,
) -> Instance {
    let Some(before) = before else { return last.clone() };
    let is_new = |node: &NodeId, row: &InstanceRow| {
        // A node that was not heard before has told nothing new.
        before.get(node).is_some_and(|rows| !rows.contains(row))
    };
    let changed = now.iter().flat_map(|(node, rows)| rows.iter().filter(|row| is_new(node, row)));
    changed.map(|row| row.instance.clone()).next().unwrap_or_else(|| last.clone())
}

/// What changes, as server-sent events.
pub(super) struct Events {
    lookout: Arc<Lookout>,
    caller: Caller,
    after: String,
    with_trace: bool,
    opened: Instant,
    /// When anything was last said.
    spoke: Option<Instant>,
}

impl Stream for Events {
    fn next(&mut self) -> Option<Vec<u8>> {
        if self.opened.elapsed() > STREAM_LIFE {
            return None;
        }
        let mut out = String::new();
        if self.spoke.is_none() {
            out.push_str("retry: 1000\n\n");
        }
        let news = self.lookout.news(&self.caller, &self.after, self.with_trace);
        // An id says what was seen: of the panels so far, and of what happened only with the last event.
        let Seen { traced, .. } = self.lookout.seen(&self.after);
        for fresh in &news.panels {
            let id = self.lookout.id(Seen { version: fresh.version, traced });
            // JSON has no line ends of its own, so one line of data it is.
            let data = serde_json::to_string(fresh).unwrap_or_default();
            out.push_str(&format!("id: {id}\nevent: panel\ndata: {data}\n\n"));
        }
        if !news.trace.events.is_empty() {
            let data = serde_json::to_string(&news.trace).unwrap_or_default();
            out.push_str(&format!("id: {}\nevent: trace\ndata: {data}\n\n", news.id));
        }
        self.after = news.id;
        if out.is_empty() && self.spoke.is_some_and(|spoke| spoke.elapsed() > PULSE) {
            out.push_str(":\n\n");
        }
        if !out.is_empty() {
            self.spoke = Some(Instant::now());
        }
        Some(out.into_bytes())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.lookout.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(instance: &str, decided: bool) -> InstanceRow {
        InstanceRow {
            instance: instance.parse().unwrap(),
            decided,
            proposing_ballot: None,
            promised_ballot: None,
            accepted_ballot: None,
            accepted_value: None,
            ballot: None,
            value: None,
        }
    }

    #[test]
    fn the_current_instance_is_the_one_that_changed_last() {
        let node = |number: u32| NodeId::new(number).unwrap();
        let (a, b): (Instance, Instance) = ("a".parse().unwrap(), "b".parse().unwrap());
        let one = BTreeMap::from([(node(1), vec![row("a", false), row("b", false)])]);
        assert_eq!(current(None, &one, &a), a, "nothing is known to have changed");
        assert_eq!(current(Some(&one), &one, &a), a);
        let decided = BTreeMap::from([(node(1), vec![row("a", false), row("b", true)])]);
        assert_eq!(current(Some(&one), &decided, &a), b);
        let mut two = decided.clone();
        two.insert(node(2), vec![row("a", true)]);
        assert_eq!(current(Some(&decided), &two, &b), b, "a node that was silent before tells nothing new");
    }
}
