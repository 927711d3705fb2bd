//! The files against plain lists of texts.

use proptest::prelude::*;

use super::*;
use crate::service::command::Action;
use crate::service::tests::{Node, check_journal, small};

#[derive(Debug, Clone)]
enum Op {
    Create(String),
    Append(String, String),
    Delete(String),
    Snapshot,
}

fn op() -> impl Strategy<Value = Op> {
    let name = || "f|g|\\.\\./h|/etc|\n|";
    prop_oneof![
        3 => name().prop_map(Op::Create),
        5 => (name(), "[a-c' \r\n]{0,9}").prop_map(|(name, text)| Op::Append(name, text)),
        2 => name().prop_map(Op::Delete),
        1 => Just(Op::Snapshot),
    ]
}

#[derive(Debug, Clone, Default)]
struct Model {
    files: Vec<(String, Vec<String>)>,
    history: Vec<(Position, FileEvent)>,
}

fn counted(lines: &[String]) -> u64 {
    lines.iter().map(|line| line.len() as u64 + 16).sum()
}

impl Model {
    /// Does it, or says why not.
    fn act(&mut self, op: &Op) -> Result<FileEvent, Refusal> {
        let limits = small();
        let (Op::Create(name) | Op::Append(name, _) | Op::Delete(name)) = op else { unreachable!() };
        if name.is_empty() || name == "\n" {
            return Err(Refusal::BadName { what: Resource::File });
        }
        if let Op::Append(_, text) = op
            && text.len() > limits.text_bytes
        {
            let (bytes, most) = (text.len() as u64, limits.text_bytes as u64);
            return Err(Refusal::TooLarge { what: Resource::Line, bytes, most });
        }
        let place = self.files.iter().position(|(other, _)| other == name);
        let change = match (op, place) {
            (Op::Create(_), Some(_)) => return Err(Refusal::FileExists { name: name.as_str().into() }),
            (Op::Create(_), None) => {
                if self.files.len() as u64 == limits.files {
                    return Err(Refusal::Full { what: Resource::Files, most: limits.files });
                }
                self.files.push((name.clone(), Vec::new()));
                FileChange::Created
            }
            (_, None) => return Err(Refusal::NoFile { name: name.as_str().into() }),
            (Op::Append(_, text), Some(place)) => {
                let mut files = self.files.clone();
                files[place].1.push(text.clone());
                if counted(&files[place].1) > limits.file_bytes {
                    return Err(Refusal::Full { what: Resource::FileBytes, most: limits.file_bytes });
                }
                if files.iter().map(|(_, lines)| counted(lines)).sum::<u64>() > limits.files_bytes {
                    return Err(Refusal::Full { what: Resource::FilesBytes, most: limits.files_bytes });
                }
                self.files = files;
                FileChange::Appended(text.as_str().into())
            }
            (_, Some(place)) => {
                self.files.remove(place);
                FileChange::Deleted
            }
        };
        Ok(FileEvent { name: name.as_str().into(), change })
    }
}

proptest! {
    #[test]
    fn files_do_what_the_model_does(ops in proptest::collection::vec(op(), 0..40)) {
        let (mut node, mut model) = (Node::new(small()), Model::default());
        for op in ops {
            let got = match &op {
                Op::Create(name) => node.run(Action::FileCreate { name, fence: None }),
                Op::Append(name, text) => node.run(Action::FileAppend { name, text, fence: None }),
                Op::Delete(name) => node.run(Action::FileDelete { name, fence: None }),
                Op::Snapshot => {
                    node.reincarnate();
                    continue;
                }
            };
            let expected = match model.act(&op) {
                Ok(change) => {
                    model.history.push((node.at(), change.clone()));
                    Reply::File { at: node.at(), change }
                }
                Err(refusal) => Reply::Refused(refusal),
            };
            prop_assert_eq!(got, expected);
            let mut names: Vec<&str> = model.files.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            let listed = node.services.files_list();
            prop_assert_eq!(listed.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), names);
            for (name, lines) in &model.files {
                let file = node.services.file_read(name).unwrap();
                prop_assert_eq!(file.lines.iter().map(|line| &**line).collect::<Vec<_>>(), lines.clone());
                prop_assert_eq!(file.text(), lines.join("\n"));
                prop_assert_eq!((file.info.lines, file.info.counted()), (lines.len() as u64, counted(lines)));
            }
        }
        check_journal(&model.history, FileEvent::bytes, &node, |since, limit| node.services.files_history(Some(since), limit));
        let all = node.services.files_history(None, usize::MAX).unwrap();
        prop_assert!(model.history.ends_with(&all.events));
        if model.history.len() as u64 <= small().events && !model.history.is_empty() && all.events.is_empty() {
            prop_assert!(FileEvent::bytes(&model.history.last().unwrap().1) as u64 > small().events_bytes);
        }
    }
}

#[test]
fn messages_are_the_documented_ones() {
    let mut node = Node::default();
    let said = |reply: Reply| match reply {
        Reply::File { change, .. } => (change.to_string(), change.command()),
        Reply::Refused(refusal) => (refusal.to_string(), String::new()),
        other => (format!("{other:?}"), String::new()),
    };
    let append = Action::FileAppend { name: "f.txt", text: "it's  me\r\n", fence: None };
    let expect = |message: &str, command: &str| (message.to_owned(), command.to_owned());
    assert_eq!(said(node.run(append)), expect("FILE 'f.txt' DOESN'T EXIST", ""));
    let create = Action::FileCreate { name: "f.txt", fence: None };
    assert_eq!(said(node.run(create)), expect("CREATED FILE 'f.txt'", "create f.txt"));
    assert_eq!(said(node.run(create)), expect("FILE 'f.txt' ALREADY EXISTS", ""));
    assert_eq!(said(node.run(append)), expect("WROTE 'it's  me\r\n' TO FILE 'f.txt'", "append f.txt it's  me\r\n"));
    let delete = Action::FileDelete { name: "f.txt", fence: None };
    assert_eq!(said(node.run(delete)), expect("DELETED FILE 'f.txt'", "delete f.txt"));
}
