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
        self.change_members("cluster.add", &(node.number(), address.unwrap_or(&local)))
    }

    /// Asks the first node that can be reached. Never a second one after that: the change might have been made.
    pub(super) fn change_members(&mut self, method: &str, params: &impl Serialize) -> Status {
        let mut nobody = None;
        for port in self.cluster.ports() {
            let Some(member) = self.cluster.member(port) else { continue };
            match member.client.call::<_, Wrote>(method, params) {
                Ok(wrote) => {
                    self.console.put("epoch", json!(wrote.epoch));
                    self.console.put("counter", json!(wrote.counter));
                    self.console.say_good(wrote.message.unwrap_or_default());
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
