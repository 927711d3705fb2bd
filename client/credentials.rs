//! `synod credentials`: makes and removes what callers and nodes are known by.

use std::io::{self, Write};

use log::error;
use synod::rpc::access::{self, AccessError, Role};

use crate::args::{CredentialsAction, RoleArg};
use crate::shell::Status;

pub(crate) fn run(action: &CredentialsAction) -> Status {
    match try_run(action) {
        // Whoever started this may not read what it says.
        Ok((text, status)) => {
            _ = io::stdout().lock().write_all(text.as_bytes());
            status
        }
        Err(error) => {
            error!("{error}");
            Status::Refused
        }
    }
}

fn try_run(action: &CredentialsAction) -> Result<(String, Status), AccessError> {
    match action {
        CredentialsAction::Add { name, role, file } => {
            let role = match role {
                RoleArg::Client => Role::Client,
                RoleArg::Admin => Role::Admin,
            };
            let secret = access::add(file, name, role)?;
            let file = file.display();
            let text = format!(
                "{secret}\n{name} is in {file} now; only the hash of the secret is. Call http://{name}:{secret}@HOST:PORT, \
                 and start the nodes again to make it count.\n"
            );
            Ok((text, Status::Done))
        }
        CredentialsAction::Remove { name, file } => Ok(if access::remove(file, name)? {
            (format!("{name} is no longer in {}.\n", file.display()), Status::Done)
        } else {
            (format!("{name} was not in {}.\n", file.display()), Status::Refused)
        }),
        CredentialsAction::List { file } => {
            let row = |(name, role): (String, Role)| format!("{name}  {role:?}\n").to_lowercase();
            Ok((access::list(file)?.into_iter().map(row).collect(), Status::Done))
        }
        CredentialsAction::Cluster { file } => {
            access::make_cluster_secret(file)?;
            Ok((format!("{} holds a new secret; copy it to every node.\n", file.display()), Status::Done))
        }
    }
}
