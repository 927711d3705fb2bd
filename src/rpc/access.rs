//! Who may call what.
//!
//! Every method belongs to a [`Role`]. A node that was given no credentials grants all roles to everyone, and listens on
//! loopback only. Otherwise a caller names itself by HTTP Basic, which every XML-RPC client can put into the URL.
//!
//! The credentials file holds hashed secrets (Argon2id):
//!
//! ```toml
//! [alice]
//! role = "client"
//! secret = "$argon2id$v=19$m=19456,t=2,p=1$…"
//! ```
//!
//! The nodes of a cluster share a secret of their own, in a file of its own, and call each other with it. It is random
//! and long, so it needs no slow hash.
//!
//! # What was thought of
//!
//! - Checking an Argon2 hash takes some 20 ms and 19 MiB *on purpose*: one is checked at a time, so a crowd of wrong
//!   guesses costs time and not memory. A secret that was right is kept in memory and compared from then on, so that a
//!   caller pays once for all its calls.
//! - An unknown name takes as long as a wrong secret: it is checked against a hash that no secret has.
//! - Secrets are compared in constant time, and are never logged; `Debug` hides them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// The name under which nodes call each other.
pub const NODE_NAME: &str = "synod-node";
/// A longer header is no credential of ours, and is not looked at.
const MAX_HEADER_BYTES: usize = 1024;
const SECRET_BYTES: usize = 24;
const MIN_CLUSTER_SECRET_BYTES: usize = 16;

/// What a method is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nodes among themselves.
    Peer,
    /// Proposing, asking.
    Client,
    /// What changes the node itself: restart, the lab. An administrator may also do what a client may, and speak to an
    /// acceptor by hand.
    Admin,
}

/// The roles that a caller has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// All: the node was given no credentials.
    All,
    /// This one, and what it includes.
    Role(Role),
}

impl Grant {
    /// Whether the caller may call methods of a role.
    #[must_use]
    pub const fn includes(self, role: Role) -> bool {
        match (self, role) {
            (Self::All | Self::Role(Role::Admin), _) => true,
            (Self::Role(Role::Client), role) => matches!(role, Role::Client),
            (Self::Role(Role::Peer), role) => matches!(role, Role::Peer),
        }
    }

    /// Whether the caller may speak as a node of the cluster.
    #[must_use]
    pub const fn is_node(self) -> bool {
        matches!(self, Self::All | Self::Role(Role::Peer))
    }
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not as it should be.
    #[error("{path}: {what}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// One entry of the credentials file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    role: Role,
    /// An Argon2 hash in PHC form.
    secret: String,
}

type Entries = BTreeMap<String, Entry>;

/// A secret that the cluster's nodes share.
#[derive(Clone)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Reads a cluster's secret from its file.
    ///
    /// # Errors
    /// The file cannot be read, or its secret is too short to be one.
    pub fn read(path: &Path) -> Result<Self, AccessError> {
        let text = fs::read_to_string(path).map_err(|source| AccessError::Io { path: path.to_owned(), source })?;
        let secret = text.trim();
        if secret.len() < MIN_CLUSTER_SECRET_BYTES || secret.chars().any(|c| c.is_control() || c.is_whitespace()) {
            let what = format!(
                "a cluster secret is one word of at least {MIN_CLUSTER_SECRET_BYTES} characters; 'synod credentials \
                 cluster FILE' makes one"
            );
            return Err(AccessError::Malformed { path: path.to_owned(), what });
        }
        Ok(Self(secret.to_owned()))
    }

    fn equals(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }

    /// The `Authorization` header that a node sends.
    #[must_use]
    pub fn header(&self) -> String {
        basic(NODE_NAME, &self.0)
    }
}

/// The `Authorization` header of HTTP Basic.
#[must_use]
pub fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
}

/// What a node knows of its callers.
#[derive(Debug)]
pub struct Access {
    entries: Entries,
    cluster: Option<Secret>,
    /// A hash that no known secret has.
    nobody: String,
    /// The secrets that were right; held while a hash is checked, so that one is at a time.
    verified: Mutex<BTreeMap<String, Secret>>,
}

impl Access {
    /// Everyone may call everything.
    #[must_use]
    pub const fn open() -> Self {
        Self { entries: Entries::new(), cluster: None, nobody: String::new(), verified: Mutex::new(BTreeMap::new()) }
    }

    /// Reads the credentials file, if there is one, and takes the cluster's secret.
    ///
    /// # Errors
    /// The file cannot be read, or an entry in it is not as it should be.
    pub fn load(credentials: Option<&Path>, cluster: Option<Secret>) -> Result<Self, AccessError> {
        let entries = match credentials {
            Some(path) => read_entries(path)?,
            None => Entries::new(),
        };
        match credentials {
            Some(path) if entries.is_empty() => {
                let what = "names nobody; 'synod credentials add NAME' adds someone".to_owned();
                return Err(AccessError::Malformed { path: path.to_owned(), what });
            }
            None if cluster.is_none() => return Ok(Self::open()),
            _ => {}
        }
        let nobody = hash(&random_secret()?)?;
        Ok(Self { entries, cluster, nobody, verified: Mutex::default() })
    }

    /// Whether everyone may call everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.entries.is_empty() && self.cluster.is_none()
    }

    /// The roles of a caller with this `Authorization` header; `None` if it is missing or wrong.
    #[must_use]
    pub fn check(&self, authorization: Option<&str>) -> Option<Grant> {
        if self.is_open() {
            return Some(Grant::All);
        }
        let header = authorization.filter(|header| header.len() <= MAX_HEADER_BYTES)?;
        let (scheme, encoded) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (name, secret) = decoded.split_once(':')?;
        if name == NODE_NAME {
            return self.cluster.as_ref()?.equals(secret).then_some(Grant::Role(Role::Peer));
        }
        let entry = self.entries.get(name);
        let hash = PasswordHash::new(entry.map_or(self.nobody.as_str(), |entry| entry.secret.as_str())).ok()?;
        let mut verified = self.verified.lock();
        if !verified.get(name).is_some_and(|known| known.equals(secret)) {
            let is_right = Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok();
            entry.filter(|_| is_right)?;
            verified.insert(name.to_owned(), Secret(secret.to_owned()));
        }
        entry.map(|entry| Grant::Role(entry.role))
    }
}

/// Adds a caller to a credentials file, or gives it a new secret, and returns that: it stands nowhere else.
///
/// # Errors
/// The name cannot be one, or the file cannot be read or written.
pub fn add(path: &Path, name: &str, role: Role) -> Result<String, AccessError> {
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !is_name || name == NODE_NAME {
        let what = format!("'{}' is not a name: use letters, digits, '-', '_' and '.'", name.escape_debug());
        return Err(AccessError::Malformed { path: path.to_owned(), what });
    }
    let mut entries = if path.exists() { read_entries(path)? } else { Entries::new() };
    let secret = random_secret()?;
    entries.insert(name.to_owned(), Entry { role, secret: hash(&secret)? });
    write_entries(path, &entries)?;
    Ok(secret)
}

/// Removes a caller from a credentials file; false if it was not there.
///
/// # Errors
/// The file cannot be read or written.
pub fn remove(path: &Path, name: &str) -> Result<bool, AccessError> {
    let mut entries = read_entries(path)?;
    let was_there = entries.remove(name).is_some();
    write_entries(path, &entries)?;
    Ok(was_there)
}

/// The callers in a credentials file, with their roles.
///
/// # Errors
/// The file cannot be read.
pub fn list(path: &Path) -> Result<Vec<(String, Role)>, AccessError> {
    Ok(read_entries(path)?.into_iter().map(|(name, entry)| (name, entry.role)).collect())
}

/// Makes a cluster secret in a new file.
///
/// # Errors
/// The file is there already, or cannot be written.
pub fn make_cluster_secret(path: &Path) -> Result<(), AccessError> {
    let secret = random_secret()?;
    let write = || private(path, true)?.write_all(format!("{secret}\n").as_bytes());
    write().map_err(|source| AccessError::Io { path: path.to_owned(), source })
}

fn read_entries(path: &Path) -> Result<Entries, AccessError> {
    let text = fs::read_to_string(path).map_err(|source| AccessError::Io { path: path.to_owned(), source })?;
    let malformed = |what: String| AccessError::Malformed { path: path.to_owned(), what };
    let entries: Entries = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    for (name, entry) in &entries {
        PasswordHash::new(&entry.secret).map_err(|error| malformed(format!("the secret of {name}: {error}")))?;
        if entry.role == Role::Peer {
            return Err(malformed(format!("{name} has the role peer, which only the cluster's own secret gives")));
        }
    }
    Ok(entries)
}

/// Writes the file whole: under another name, then renamed.
fn write_entries(path: &Path, entries: &Entries) -> Result<(), AccessError> {
    let text = toml::to_string(entries)
        .map_err(|error| AccessError::Malformed { path: path.to_owned(), what: error.to_string() })?;
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = private(&temporary, false)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| AccessError::Io { path: path.to_owned(), source })
}

/// A file that only its owner may read.
fn private(path: &Path, must_be_new: bool) -> io::Result<File> {
    File::options().write(true).create(true).create_new(must_be_new).truncate(!must_be_new).mode(0o600).open(path)
}

fn random_secret() -> Result<String, AccessError> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| AccessError::Io {
        path: PathBuf::from("the system's random numbers"),
        source: io::Error::other(error.to_string()),
    })?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn hash(secret: &str) -> Result<String, AccessError> {
    let hash = Argon2::default().hash_password(secret.as_bytes());
    hash.map(|hash| hash.to_string())
        .map_err(|error| AccessError::Malformed { path: PathBuf::from("argon2"), what: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_include_what_they_should() {
        use Role::{Admin, Client, Peer};
        for (grant, may, may_not) in [
            (Grant::All, &[Peer, Client, Admin][..], &[][..]),
            (Grant::Role(Admin), &[Peer, Client, Admin], &[]),
            (Grant::Role(Client), &[Client], &[Peer, Admin]),
            (Grant::Role(Peer), &[Peer], &[Client, Admin]),
        ] {
            assert!(may.iter().all(|&role| grant.includes(role)) && may_not.iter().all(|&role| !grant.includes(role)));
        }
        assert!(Grant::Role(Peer).is_node() && !Grant::Role(Admin).is_node());
    }

    #[test]
    fn only_the_right_secret_opens() {
        let dir = tempfile::TempDir::new().unwrap();
        let (file, cluster) = (dir.path().join("credentials.toml"), dir.path().join("cluster.secret"));
        let secret = add(&file, "alice", Role::Client).unwrap();
        make_cluster_secret(&cluster).unwrap();
        assert!(make_cluster_secret(&cluster).is_err(), "an existing secret is not replaced");
        let shared = Secret::read(&cluster).unwrap();
        let access = Access::load(Some(&file), Some(shared.clone())).unwrap();
        let check = |header: &str| access.check(Some(header));
        assert_eq!(check(&basic("alice", &secret)), Some(Grant::Role(Role::Client)));
        assert_eq!(check(&basic("alice", &secret)), Some(Grant::Role(Role::Client)), "the second time from memory");
        assert_eq!(check(&basic("alice", &secret).replace("Basic", "bAsIc")), Some(Grant::Role(Role::Client)));
        assert_eq!(check(&shared.header()), Some(Grant::Role(Role::Peer)));
        for wrong in [
            basic("alice", "x"),
            basic("bob", &secret),
            basic(NODE_NAME, "x"),
            basic("alice", ""),
            format!("Bearer {secret}"),
            "Basic".to_owned(),
            "Basic !!!".to_owned(),
            format!("Basic {}", STANDARD.encode("no colon")),
            format!("Basic {}", "A".repeat(5000)),
        ] {
            assert_eq!(check(&wrong), None, "{wrong}");
        }
        assert_eq!(access.check(None), None);
        assert_eq!(Access::open().check(None), Some(Grant::All));
        let text = format!("{access:?} {shared:?}");
        assert!(!text.contains(&secret) && !text.contains(&shared.0), "a secret must not be logged");
    }

    #[test]
    fn files_are_private_and_checked() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("credentials.toml");
        add(&file, "alice", Role::Admin).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(list(&file).unwrap(), [("alice".to_owned(), Role::Admin)]);
        assert!(remove(&file, "alice").unwrap() && !remove(&file, "alice").unwrap());
        for name in ["", "a:b", "a b", NODE_NAME, "é"] {
            assert!(add(&file, name, Role::Client).is_err(), "{name}");
        }
        for text in [
            "[a]\nrole = \"client\"",
            "[a]\nrole = \"peer\"\nsecret = \"x\"",
            "[a]\nrole = \"client\"\nsecret = \"x\"",
            "x",
        ] {
            fs::write(&file, text).unwrap();
            assert!(Access::load(Some(&file), None).is_err(), "{text}");
        }
        fs::write(&file, "").unwrap();
        assert!(Access::load(Some(&file), None).is_err(), "an empty file must not open the node to all");
        let short = dir.path().join("short");
        fs::write(&short, "too short").unwrap();
        assert!(Secret::read(&short).is_err() && Secret::read(&dir.path().join("none")).is_err());
    }
}
