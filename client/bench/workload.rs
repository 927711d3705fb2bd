//! What the clients call: requests that were encoded beforehand, and what must be in the replies.

use std::collections::VecDeque;

use memchr::memmem;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use serde::de::DeserializeOwned;
use synod::rpc::answers::Proposed;
use synod::rpc::strong::answers::{Got, Wrote};
use synod::service::limits::Limits as ServiceLimits;
use synod::xmlrpc::{EncodeError, Fault, Limits, Value, from_response};

use super::template::{BLANK, NUMBERS, Template};
use crate::args::{LoadArgs, Workload};

/// How much of the files' room the benchmark takes, so that a cluster in use keeps some.
const SHARE_OF_FILES: u64 = 2;
/// Into how many files a client's share is divided: the oldest goes when there would be more.
const FILES_EACH: u64 = 4;
/// How much is written at once before reads are measured.
const FILL_BYTES: usize = 1 << 20;
const FILL_CALLS: usize = 500;
/// What an entry of a multicall takes besides its value.
const CALL_BYTES: usize = 250;
/// A fault stands at the very beginning of a reply.
const FAULT_WITHIN: usize = 128;

/// A load, as all clients see it.
pub(super) struct Plan<'a> {
    pub(super) args: &'a LoadArgs,
    /// Names that no earlier benchmark has used begin with it.
    pub(super) run: String,
}

/// One client's calls.
pub(super) struct Work {
    workload: Workload,
    requests: Vec<Template>,
    keys: u64,
    random: Pcg64Mcg,
    sequence: u64,
    files: Option<Files>,
}

/// The files that one client appends to. What is kept is bounded, for a file and for all, so old ones make room.
struct Files {
    name: String,
    line: String,
    lines_each: u64,
    /// Lines in the newest.
    lines: u64,
    newest: u64,
    kept: VecDeque<u64>,
}

/// What a reply should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// That something was written.
    Wrote,
    /// A value.
    Got,
    /// A decision.
    Proposed,
    /// So many results.
    Many(usize),
}

/// What came of a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Operations that were done.
    pub(super) done: u64,
    /// Operations that were not, or gave something else than they should.
    pub(super) failed: u64,
    /// What the first of these said.
    pub(super) why: Option<String>,
}

/// A call in a multicall.
#[derive(Serialize)]
struct OneCall<'a> {
    #[serde(rename = "methodName")]
    method: &'static str,
    params: (&'a str, &'a str),
}

/// So many letters.
pub(super) fn letters(bytes: usize) -> String {
    ('a'..='z').cycle().take(bytes).collect()
}

fn key() -> String {
    format!("bench/{BLANK}")
}

fn puts(count: usize, value: &str) -> Result<Template, EncodeError> {
    let key = key();
    let calls: Vec<_> = (0..count).map(|_| OneCall { method: "kv.put", params: (&key, value) }).collect();
    Template::new("system.multicall", &(calls,))
}

impl Plan<'_> {
    fn value(&self) -> String {
        letters(self.args.value_bytes as usize)
    }

    /// Multicalls that put all keys, each with the number of its first key, if there must be keys before the load.
    pub(super) fn fill(&self) -> Result<Option<(Template, usize)>, EncodeError> {
        if !matches!(self.args.workload, Workload::Get | Workload::Mixed) {
            return Ok(None);
        }
        let value = self.value();
        let count = (FILL_BYTES / (value.len() + CALL_BYTES)).clamp(1, FILL_CALLS).min(self.args.keys as usize);
        Ok(Some((puts(count, &value)?, count)))
    }

    /// The calls of the client of this number.
    pub(super) fn work(&self, client: usize) -> Result<Work, EncodeError> {
        let (value, key) = (self.value(), key());
        let put = || Template::new("kv.put", &(&key, &value));
        let get = || Template::new("kv.get", &(&key,));
        let (requests, files) = match self.args.workload {
            Workload::Put => (vec![put()?], None),
            Workload::Get => (vec![get()?], None),
            Workload::Mixed => (vec![put()?, get()?], None),
            Workload::Propose => {
                (vec![Template::new("propose", &(&value, format!("bench-{}-{client}-{BLANK}", self.run)))?], None)
            }
            Workload::Multicall => (vec![puts(self.args.batch as usize, &value)?], None),
            Workload::Append => (Vec::new(), Some(Files::new(self, client))),
        };
        let (workload, keys) = (self.args.workload, self.args.keys.into());
        // The same keys in the same order every time: runs differ only by what they measure.
        let random = Pcg64Mcg::seed_from_u64(client as u64);
        Ok(Work { workload, requests, keys, random, sequence: 0, files })
    }
}

impl Files {
    fn new(plan: &Plan<'_>, client: usize) -> Self {
        let limits = ServiceLimits::default();
        let filler = plan.args.value_bytes as usize;
        let line = match filler.checked_sub(BLANK.len()) {
            Some(filler) => format!("{BLANK}{}", letters(filler)),
            None => letters(filler),
        };
        let share = limits.files_bytes / SHARE_OF_FILES / u64::from(plan.args.clients);
        let file = limits.file_bytes.min(share / FILES_EACH);
        let lines_each = (file / (line.len() as u64 + ServiceLimits::LINE)).max(1);
        let name = format!("bench-{}-{client}", plan.run);
        Self { name, line, lines_each, lines: 0, newest: 0, kept: VecDeque::new() }
    }

    fn file(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }
}

impl Work {
    /// All requests, to be addressed.
    pub(super) fn requests(&mut self) -> &mut [Template] {
        &mut self.requests
    }

    /// What has to be called before the next operation, and counts for nothing; until [`Self::chore_done`].
    pub(super) fn chore(&mut self) -> Result<Option<Template>, EncodeError> {
        let Some(files) = &self.files else { return Ok(None) };
        if !files.kept.is_empty() && files.lines < files.lines_each {
            return Ok(None);
        }
        match files.kept.front() {
            Some(&oldest) if files.kept.len() as u64 >= FILES_EACH => {
                Template::new("files.delete", &(files.file(oldest),)).map(Some)
            }
            _ => Template::new("files.create", &(files.file(files.newest + 1),)).map(Some),
        }
    }

    /// The chore has been done. Whether the requests have changed, and must be addressed.
    pub(super) fn chore_done(&mut self) -> Result<(), EncodeError> {
        let Some(files) = &mut self.files else { return Ok(()) };
        if files.kept.len() as u64 >= FILES_EACH {
            files.kept.pop_front();
            return Ok(());
        }
        files.newest += 1;
        files.lines = 0;
        files.kept.push_back(files.newest);
        self.requests = vec![Template::new("files.append", &(files.file(files.newest), &files.line))?];
        Ok(())
    }

    /// Makes the next request ready.
    pub(super) fn next(&mut self) -> (&Template, Wanted) {
        self.sequence += 1;
        let at = match self.workload {
            Workload::Mixed => usize::from(self.random.random::<bool>()),
            _ => 0,
        };
        let request = &mut self.requests[at];
        match self.workload {
            Workload::Propose => request.set_all(self.sequence),
            Workload::Append => {
                request.set_all(self.sequence);
                if let Some(files) = &mut self.files {
                    files.lines += 1;
                }
            }
            _ => (0..request.blanks()).for_each(|blank| request.set(blank, self.random.random_range(0..self.keys))),
        }
        let wanted = match (self.workload, at) {
            (Workload::Get, _) | (Workload::Mixed, 1) => Wanted::Got,
            (Workload::Propose, _) => Wanted::Proposed,
            (Workload::Multicall, _) => Wanted::Many(request.blanks()),
            _ => Wanted::Wrote,
        };
        (request, wanted)
    }

    /// Whether this client has no number left for another name.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.sequence >= NUMBERS - 1
    }
}

impl Wanted {
    /// What a reply says. Read as a whole if it says that something failed, or if `whole` is wanted.
    pub(super) fn judge(self, body: &[u8], whole: bool) -> Verdict {
        let suspicious = match self {
            Self::Many(_) => memmem::find(body, b"fault").is_some(),
            _ => memmem::find(&body[..body.len().min(FAULT_WITHIN)], b"<fault>").is_some(),
        };
        if !suspicious && !whole {
            return Verdict { done: self.operations(), ..Verdict::default() };
        }
        match self {
            Self::Wrote => self.one(body, |wrote: &Wrote| wrote.counter > 0),
            Self::Got => self.one(body, |got: &Got| got.found),
            Self::Proposed => self.one(body, |_: &Proposed| true),
            Self::Many(count) => self.many(body, count),
        }
    }

    const fn operations(self) -> u64 {
        match self {
            Self::Many(count) => count as u64,
            _ => 1,
        }
    }

    fn one<T: DeserializeOwned>(self, body: &[u8], good: impl FnOnce(&T) -> bool) -> Verdict {
        match from_response(body, &Limits::default()) {
            Ok(Ok(answer)) if good(&answer) => Verdict { done: 1, ..Verdict::default() },
            Ok(Ok(_)) => Verdict::failed(1, "the answer is not what was asked for".to_owned()),
            Ok(Err(fault)) => Verdict::failed(self.operations(), fault.to_string()),
            Err(error) => Verdict::failed(self.operations(), error.to_string()),
        }
    }

    fn many(self, body: &[u8], count: usize) -> Verdict {
        let results: Vec<Value> = match from_response(body, &Limits::default()) {
            Ok(Ok(results)) => results,
            Ok(Err(fault)) => return Verdict::failed(self.operations(), fault.to_string()),
            Err(error) => return Verdict::failed(self.operations(), error.to_string()),
        };
        let done = results.iter().filter(|result| matches!(result, Value::Array(items) if items.len() == 1)).count();
        let why = results.iter().find_map(|result| match result {
            Value::Struct(members) => match (members.get("faultCode"), members.get("faultString")) {
                (Some(&Value::Int(code)), Some(Value::String(string))) => {
                    let code = i32::try_from(code).unwrap_or_default();
                    Some(Fault { code, string: string.clone() }.to_string())
                }
                _ => None,
            },
            _ => None,
        });
        let failed = count.saturating_sub(done) as u64;
        let why = why.or_else(|| (failed > 0).then(|| format!("{} results for {count} calls", results.len())));
        Verdict { done: done.min(count) as u64, failed, why }
    }
}

impl Verdict {
    pub(super) const fn failed(failed: u64, why: String) -> Self {
        Self { done: 0, failed, why: Some(why) }
    }
}
