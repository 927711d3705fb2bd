//! The parts of the page that change by themselves. Each is drawn from a [`View`], the same for all who look.

mod acceptors;
mod boards;
mod cluster;
mod faults;
mod tables;

use super::guard::FIELD;
use super::html::Html;
use super::view::View;
use crate::rpc::access::Role;

/// A part of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Panel {
    Cluster,
    Strong,
    Eventual,
    Acceptors,
    Faults,
    Locks,
    Files,
    Keys,
}

impl Panel {
    pub(super) const ALL: [Self; 8] = [
        Self::Cluster,
        Self::Strong,
        Self::Eventual,
        Self::Acceptors,
        Self::Faults,
        Self::Locks,
        Self::Files,
        Self::Keys,
    ];

    /// Its name: of its element, of its events.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Strong => "strong",
            Self::Eventual => "eventual",
            Self::Acceptors => "acceptors",
            Self::Faults => "faults",
            Self::Locks => "locks",
            Self::Files => "files",
            Self::Keys => "keys",
        }
    }

    /// Who may see it: whoever may call the methods that it shows.
    pub(super) const fn role(self) -> Role {
        match self {
            Self::Faults => Role::Admin,
            _ => Role::Client,
        }
    }
}

/// What a panel shows; `token` goes into its forms.
pub(super) fn draw(panel: Panel, view: &View, token: &str) -> Html {
    match panel {
        Panel::Cluster => cluster::draw(view),
        Panel::Strong => boards::strong(view, token),
        Panel::Eventual => boards::eventual(view, token),
        Panel::Acceptors => acceptors::draw(view, token),
        Panel::Faults => faults::draw(view, token),
        Panel::Locks => tables::locks(view),
        Panel::Files => tables::files(view),
        Panel::Keys => tables::keys(view),
    }
}

/// The beginning of a form that does something.
fn begin_form(html: &mut Html, class: &str, action: &str, token: &str) {
    html.fill(
        "<form class=\"{}\" method=\"post\" action=\"{}\" data-live><input type=\"hidden\" name=\"{}\" value=\"{}\">",
        &[&class, &action, &FIELD, &token],
    );
}

/// A text that fits a cell.
fn short(text: &str) -> String {
    const MOST: usize = 120;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
