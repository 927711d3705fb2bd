//! Both boards, node by node: what each node shows now, asked of itself, so also while links are cut.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use synod::rpc::client::CallError;
use synod::rpc::strong::answers::PostRow;
use synod::rpc::strong::{Consistency, ReadOptions};
use synod::rpc::weak::answers::EntryRow;

use super::entries;
use crate::cluster::Member;
use crate::command::Port;
use crate::execute::Lab;
use crate::shell::Status;
use crate::strong::one_line;

/// The texts that a node shows, by the names of their posts or entries.
type Shown<K> = BTreeMap<K, String>;

impl Lab {
    pub(super) fn diff_boards(&mut self) -> Status {
        let answers = self.ask_all(|member| Ok::<_, CallError>((posts(member)?, entries(member)?)));
        let mut nodes = Vec::new();
        let (mut strong, mut eventual): (Vec<(Port, Shown<u64>)>, Vec<(Port, Shown<_>)>) = (Vec::new(), Vec::new());
        for (port, answer) in answers {
            let Ok((posts, rows)) = answer else {
                nodes.push(json!({ "node": port.number(), "up": false }));
                self.console.say_bad(format!("Node {port} does not answer."));
                continue;
            };
            nodes.push(json!({ "node": port.number(), "up": true, "strong": posts, "eventual": rows }));
            strong.push((port, posts.into_iter().map(|PostRow { id, text, .. }| (id, text)).collect()));
            let text = |EntryRow { id, text, .. }: EntryRow| (id, text.unwrap_or_default());
            eventual.push((port, rows.into_iter().map(text).collect()));
        }
        self.console.put("nodes", json!(nodes));
        let apart_strong = self.compare("strong", "the rest of the leader's order is not known there yet", &strong);
        let apart = self.compare("eventual", "they will be told", &eventual);
        self.console.put("strong_differs", json!(apart_strong));
        self.console.put("eventual_differs", json!(apart));
        Status::Done
    }

    /// Says of one board what each node shows that not all show alike; how many posts those are.
    fn compare<K: Ord + Clone + ToString>(&mut self, which: &str, why: &str, nodes: &[(Port, Shown<K>)]) -> usize {
        let all: BTreeSet<&K> = nodes.iter().flat_map(|(_, shown)| shown.keys()).collect();
        let is_alike = |id: &&&K| {
            let mut texts = nodes.iter().map(|(_, shown)| shown.get(*id));
            let first = texts.next();
            texts.all(|text| Some(text) == first)
        };
        let (alike, apart): (Vec<&K>, Vec<&K>) = all.into_iter().partition(|id| is_alike(&id));
        if apart.is_empty() {
            self.console.say_good(format!("The {which} board: all nodes show the same {} posts.", alike.len()));
            return 0;
        }
        let (same, different) = (alike.len(), apart.len());
        self.console
            .say_bad(format!("The {which} board: {same} posts are the same on all nodes, {different} are not; {why}."));
        let header = ["post", "node", "text"];
        let rows: Vec<[String; 3]> = apart
            .iter()
            .flat_map(|id| {
                nodes.iter().map(|(port, shown)| {
                    let text = shown.get(*id).map_or_else(|| "-".to_owned(), |text| one_line(text));
                    [id.to_string(), port.to_string(), text]
                })
            })
            .collect();
        self.table(header, &[], rows.into_iter(), "");
        different
    }
}

/// What a node has applied of the strong board.
fn posts(member: &Member) -> Result<Vec<PostRow>, CallError> {
    let mut posts: Vec<PostRow> = Vec::new();
    loop {
        let after = posts.last().map(|post| post.id.to_string());
        let options = ReadOptions { read: Some(Consistency::Local), after, ..ReadOptions::default() };
        let page: Vec<PostRow> = member.quick.call("board.strong.list", &(options,))?;
        if page.is_empty() {
            return Ok(posts);
        }
        posts.extend(page);
    }
}
