//! Locks, files and keys.

use super::super::html::Html;
use super::super::view::{ROWS, View};
use super::short;
use crate::rpc::text::shown;

const ROWS_SHOWN: usize = ROWS as usize;

pub(super) fn locks(view: &View) -> Html {
    let locks = &view.services.locks;
    let columns = ["Lock", "Owner", "Token", "Time left", "Waiting"];
    table("Locks that are held", "No lock is held.", &columns, locks.len(), |html| {
        for lock in locks.iter().take(ROWS_SHOWN) {
            let seconds = format!("{:.1} s", lock.expires_in_ms as f64 / 1000.0);
            let queue = if lock.queue.is_empty() { "nobody".to_owned() } else { short(&lock.queue.join(", ")) };
            html.fill(
                "<tr data-key=\"{}\"><th scope=\"row\"><bdi>{}</bdi></th><td><bdi>{}</bdi></td><td>{}</td><td>{}</td>\
                 <td><bdi>{}</bdi></td></tr>",
                &[&lock.name, &lock.name, &lock.owner, &lock.token, &seconds, &queue],
            );
        }
    })
}

pub(super) fn files(view: &View) -> Html {
    let files = &view.services.files;
    let columns = ["File", "Lines", "Bytes", "Last change"];
    table("Text files", "There are no files.", &columns, files.len(), |html| {
        for file in files.iter().take(ROWS_SHOWN) {
            let changed = format!("{}.{}", file.epoch, file.counter);
            html.fill(
                "<tr data-key=\"{}\"><th scope=\"row\"><bdi>{}</bdi></th><td>{}</td><td>{}</td><td>{}</td></tr>",
                &[&file.name, &file.name, &file.lines, &file.bytes, &changed],
            );
        }
    })
}

pub(super) fn keys(view: &View) -> Html {
    let keys = &view.services.keys;
    let count = keys.len() + usize::from(view.services.more_keys);
    table("Keys and their values", "There are no keys.", &["Key", "Value", "Version"], count, |html| {
        for row in keys.iter().take(ROWS_SHOWN) {
            html.fill(
                "<tr data-key=\"{}\"><th scope=\"row\"><bdi>{}</bdi></th><td><bdi>{}</bdi></td><td>{}</td></tr>",
                &[&row.key, &short(&row.key), &short(&shown(&row.value)), &row.version],
            );
        }
    })
}

fn table(
    caption: &'static str,
    empty: &'static str,
    columns: &[&'static str],
    count: usize,
    rows: impl FnOnce(&mut Html),
) -> Html {
    let mut html = Html::new();
    if count == 0 {
        html.fill("<p class=\"empty\">{}</p>", &[&empty]);
        return html;
    }
    html.fill(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{}\" tabindex=\"0\"><table><caption class=\"sr\">{}</caption>\
         <thead><tr>",
        &[&caption, &caption],
    );
    columns.iter().for_each(|column| _ = html.fill("<th scope=\"col\">{}</th>", &[column]));
    html.raw("</tr></thead><tbody>");
    rows(&mut html);
    html.raw("</tbody></table></div>");
    if count > ROWS_SHOWN {
        html.fill("<p class=\"note\">The first {}.</p>", &[&ROWS_SHOWN]);
    }
    html
}
