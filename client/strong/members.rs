//! Who belongs to the cluster: `members`, `members add`, `members remove`.

use serde::Serialize;
use serde_json::json;
use synod::rpc::client::CallError;
use synod::rpc::strong::answers::{MembersAnswer, Wrote};

use super::Ended;
use crate::command::Port;
use crate::execute::Lab;
use crate::shell::Status;

impl Lab {
    pub(super) fn list_members(&mut self) -> Ended {
        let found = self.caller.read::<_, MembersAnswer>("cluster.members", |options| (options,))?.answer;
        self.console.put("members", json!(found.members));
        self.console.put("changing", json!(found.changing));
        let rows = found.members.iter().map(|member| [member.node.to_string(), member.address.clone()]);
        self.table(["node", "address"], &[], rows, "There are no members.");
        if found.changing {
            self.console.say("The last change is not committed yet.");
        }
        Ok(Status::Done)
    }

    pub(super) fn add_member(&mut self, node: Port, address: Option<&str>) -> Status {
        let local = format!("127.0.0.1:{node}");
        let address = address.unwrap_or(&local);
        let started = match self.cluster.enlist(node, address) {
            Ok(started) => started,
            Err(error) => return self.cluster_failed(&error),
        };
        if started {
            self.console.say(format!("Node {node} was started, to join."));
        }
        let status = self.change_members("cluster.add", &(node.number(), address));
        // One that may yet be a member goes on.
        if started && !matches!(status, Status::Done | Status::Unknown) {
            self.cluster.dismiss(node);
            self.console.say(format!("Node {node} is stopped again."));
        }
        status
    }

    pub(super) fn remove_member(&mut self, node: Port) -> Status {
        let status = self.change_members("cluster.remove", &(node.number(),));
        if status == Status::Done && self.cluster.is_own() && self.cluster.founders().contains(&node) {
            self.console.tell("It runs on, if it is up: it founded the cluster, and decides single values.");
        }
        status
    }

    /// Asks the first node that can be reached. Never a second one after that: the change might have been made.
    fn change_members(&mut self, method: &str, params: &impl Serialize) -> Status {
        let mut nobody = None;
        for port in self.cluster.ports() {
            let Some(member) = self.cluster.member(port).filter(|member| !member.is_paused()) else { continue };
            match member.client.call::<_, Wrote>(method, params) {
                Ok(wrote) => {
                    self.console.put("epoch", json!(wrote.epoch));
                    self.console.put("counter", json!(wrote.counter));
                    self.console.say_good(wrote.message.unwrap_or_default());
                    self.cluster.expect(wrote.counter);
                    self.follow_members();
                    return Status::Done;
                }
                Err(error @ CallError::Unreachable(_)) => _ = nobody.get_or_insert((port, error)),
                Err(error) => return self.call_failed(port, &error),
            }
        }
        match nobody {
            Some((port, error)) => self.call_failed(port, &error),
            None => Status::Unavailable,
        }
    }
}
