//! The board against a plain list.

use proptest::prelude::*;

use super::*;
use crate::service::command::Action;
use crate::service::tests::{Node, check_journal, small};

#[derive(Debug, Clone)]
enum Op {
    Post(String),
    Modify(u64, String),
    Delete(u64),
    Snapshot,
}

fn op() -> impl Strategy<Value = Op> {
    let text = || "[a-c\r\n]{0,9}";
    prop_oneof![
        4 => text().prop_map(Op::Post),
        3 => (0..6_u64, text()).prop_map(|(id, text)| Op::Modify(id, text)),
        3 => (0..6_u64).prop_map(Op::Delete),
        1 => Just(Op::Snapshot),
    ]
}

#[derive(Debug, Default)]
struct Model {
    posts: Vec<(u64, Post)>,
    /// How many posts were ever made.
    made: u64,
    events: Vec<(Position, BoardEvent)>,
}

impl Model {
    /// Puts the posts there if there is room for them.
    fn change(&mut self, at: Position, posts: Vec<(u64, Post)>, id: u64, change: BoardChange) -> Reply {
        let limits = small();
        let bytes: u64 = posts.iter().map(|(_, post)| post.text.len() as u64).sum();
        let text = if let BoardChange::Posted(text) | BoardChange::Modified(text) = &change { text.len() } else { 0 };
        if text > limits.text_bytes {
            let (bytes, most) = (text as u64, limits.text_bytes as u64);
            return Reply::Refused(Refusal::TooLarge { what: Resource::Post, bytes, most });
        }
        let there = self.posts.iter().any(|(other, _)| *other == id);
        if !there && !matches!(change, BoardChange::Posted(_)) {
            return Reply::Refused(Refusal::NoPost { id });
        }
        if bytes > limits.board_bytes {
            return Reply::Refused(Refusal::Full { what: Resource::BoardBytes, most: limits.board_bytes });
        }
        if posts.len() as u64 > limits.posts {
            return Reply::Refused(Refusal::Full { what: Resource::Posts, most: limits.posts });
        }
        self.made += u64::from(matches!(change, BoardChange::Posted(_)));
        self.posts = posts;
        self.events.push((at, BoardEvent { id, change, author: 8000 }));
        Reply::Board { at, id }
    }
}

proptest! {
    #[test]
    fn board_does_what_the_model_does(ops in proptest::collection::vec(op(), 0..40)) {
        let (mut node, mut model) = (Node::new(small()), Model::default());
        for op in ops {
            let before = model.events.len();
            let mut posts = model.posts.clone();
            let (got, expected) = match op {
                Op::Post(text) => {
                    let got = node.run(Action::BoardPost { text: &text });
                    let (id, text): (_, Arc<str>) = (model.made + 1, text.into());
                    posts.push((id, Post { text: text.clone(), author: 8000, at: node.at() }));
                    (got, model.change(node.at(), posts, id, BoardChange::Posted(text)))
                }
                Op::Modify(id, text) => {
                    let got = node.run(Action::BoardModify { id, text: &text });
                    let text: Arc<str> = text.into();
                    posts.iter_mut().filter(|(other, _)| *other == id).for_each(|(_, post)| post.text = text.clone());
                    (got, model.change(node.at(), posts, id, BoardChange::Modified(text)))
                }
                Op::Delete(id) => {
                    let got = node.run(Action::BoardDelete { id });
                    posts.retain(|(other, _)| *other != id);
                    (got, model.change(node.at(), posts, id, BoardChange::Deleted))
                }
                Op::Snapshot => {
                    node.reincarnate();
                    continue;
                }
            };
            prop_assert_eq!(got, expected);
            prop_assert_eq!(node.notices.len(), model.events.len() - before);
            prop_assert_eq!(&node.services.board_list(0, 100).entries, &model.posts);
            for after in 0..6 {
                let page = node.services.board_list(after, 1);
                let rest: Vec<_> = model.posts.iter().filter(|(id, _)| *id > after).cloned().collect();
                prop_assert_eq!(page.more, rest.len() > 1);
                prop_assert_eq!(page.entries.first(), rest.first());
            }
            for limit in 1..4 {
                let newest = &model.posts[model.posts.len().saturating_sub(limit)..];
                prop_assert_eq!(node.services.board_newest(limit), newest);
            }
        }
        check_journal(&model.events, journal::Event::bytes, &node, |since, limit| node.services.board_watch(since, limit));
    }
}
