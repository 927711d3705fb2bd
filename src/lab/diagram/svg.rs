//! A picture as SVG: time runs down, arrows slant, majorities are shaded, and each arrow has a title. Made to be read
//! printed as well: what differs in colour differs in its dashes, too.

use std::fmt::Write as _;

use super::{Arrow, Fate, Mark, Picture, Row, Shape, Tone};

const LANE: f64 = 104.0;
const LEFT: f64 = 62.0;
const TOP: f64 = 58.0;
const WORDS: f64 = 310.0;
const ARROWS: f64 = 46.0;
const MARKS: f64 = 30.0;
/// Room above and below the slant of an arrow, in its row.
const PAD: f64 = 8.0;

/// Colours, dashes and widths of the tones, which the styles name.
const STYLE: &str = "text{font:13px system-ui,'DejaVu Sans',sans-serif;fill:#1b1b1b}.node{font-weight:600;\
    text-anchor:middle}.small{font-size:11px;fill:#555}.lane{stroke:#9a9a9a;stroke-width:1.5}.line{fill:none;\
    stroke-width:1.8}.prepare{stroke:#1f5fa8}.promise{stroke:#1f5fa8;stroke-dasharray:7 3}.accept{stroke:#1b7f3b;\
    stroke-width:2.4}.accepted{stroke:#1b7f3b;stroke-dasharray:7 3}.reject{stroke:#b3261e;stroke-dasharray:2 3}\
    .commit{stroke:#6a3fa0}.election{stroke:#8a5200}.plain{stroke:#444}.head{stroke:none}.f-prepare,.f-promise{\
    fill:#1f5fa8}.f-accept,.f-accepted{fill:#1b7f3b}.f-reject{fill:#b3261e}.f-commit{fill:#6a3fa0}.f-election{\
    fill:#8a5200}.f-plain{fill:#444}.cross{stroke:#b3261e;stroke-width:2.4;fill:none}.quorum{fill:#f4e3a1;\
    stroke:#c9a400;stroke-width:1}.band{fill:#fdf8e4}.gate{fill:#fff;stroke:#444;stroke-width:1.6}";

/// Draws a picture as a file of its own.
#[must_use]
pub fn draw(picture: &Picture) -> String {
    let (width, height) = size(picture);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\" aria-label=\"A space-time diagram\">\n<style>{STYLE}</style>\n<rect width=\"{width}\" \
         height=\"{height}\" fill=\"#fff\"/>\n{}</svg>\n",
        body(picture)
    )
}

/// The rules for the classes that [`body`] uses.
pub(super) const fn style() -> &'static str {
    STYLE
}

/// How wide and high a picture is.
pub(super) fn size(picture: &Picture) -> (f64, f64) {
    let width = LEFT + LANE * picture.nodes.len() as f64 + WORDS;
    let height = TOP + picture.rows.iter().map(height_of).sum::<f64>() + 16.0;
    (width, height)
}

const fn height_of(row: &Row) -> f64 {
    match row.shape {
        Shape::Arrows(_) => ARROWS,
        Shape::Marks(..) => MARKS,
    }
}

/// What stands in the `svg` element: lanes, then a group of class `r` for each row.
pub(super) fn body(picture: &Picture) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    for (lane, node) in picture.nodes.iter().enumerate() {
        _ = writeln!(out, "<text class=\"node\" x=\"{}\" y=\"30\">{node}</text>", x(lane));
        _ = writeln!(out, "<path class=\"lane\" d=\"M{0} 40V{TOP}\"/>", x(lane));
    }
    if picture.cut {
        _ = writeln!(out, "<text class=\"small\" x=\"{LEFT}\" y=\"{}\">what came before is left out</text>", TOP - 4.0);
    }
    let began = picture.rows.first().map_or(0, |row| row.us);
    let mut y = TOP;
    for row in &picture.rows {
        let next = y + height_of(row);
        lanes(&mut out, picture, row, (y, next));
        _ = writeln!(out, "<g class=\"r\" data-text=\"{}\">", escaped(&told(picture, row)));
        quorum(&mut out, picture, row, (y, next));
        match &row.shape {
            Shape::Arrows(arrows) => arrows.iter().for_each(|each| arrow(&mut out, each, row.tone, (y, next))),
            Shape::Marks(mark, lanes) => {
                lanes.iter().for_each(|&lane| sign(&mut out, *mark, row.tone, lane, (y + next) / 2.0))
            }
        }
        words(&mut out, picture, row, began, (y + next) / 2.0);
        out.push_str("</g>\n");
        y = next;
    }
    out
}

fn x(lane: usize) -> f64 {
    LEFT + LANE / 2.0 + LANE * lane as f64
}

fn lanes(out: &mut String, picture: &Picture, row: &Row, (y, next): (f64, f64)) {
    let crashes = matches!(row.shape, Shape::Marks(Mark::Crashes, _));
    for lane in 0..picture.nodes.len() {
        // The line of a node that dies goes on to its cross.
        let dies = crashes && matches!(&row.shape, Shape::Marks(_, lanes) if lanes.contains(&lane));
        let end = if dies { (y + next) / 2.0 } else { next };
        if dies || !row.down.contains(&lane) {
            _ = writeln!(out, "<path class=\"lane\" d=\"M{} {y}V{end}\"/>", x(lane));
        }
    }
}

fn quorum(out: &mut String, picture: &Picture, row: &Row, (y, next): (f64, f64)) {
    let Some(quorum) = &row.quorum else { return };
    let (left, right) = (x(0) - 30.0, x(picture.nodes.len().saturating_sub(1)) + 30.0);
    let height = next - y - 4.0;
    let width = right - left;
    let top = y + 2.0;
    _ = writeln!(out, "<rect class=\"band\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>");
    for &lane in &quorum.lanes {
        let left = x(lane) - 15.0;
        _ = writeln!(
            out,
            "<rect class=\"quorum\" x=\"{left}\" y=\"{top}\" width=\"30\" height=\"{height}\" rx=\"13\"><title>in the \
             majority</title></rect>"
        );
        _ = writeln!(out, "<path class=\"lane\" d=\"M{} {y}V{next}\"/>", x(lane));
    }
}

fn arrow(out: &mut String, arrow: &Arrow, tone: Tone, (y, next): (f64, f64)) {
    let class = class_of(tone);
    let (x0, x1, y0, y1) = (x(arrow.from), x(arrow.to), y + PAD, next - PAD);
    // So far of its way.
    let way = match arrow.fate {
        Fate::Arrives | Fate::Open => 1.0,
        Fate::Lost => 0.72,
        // So far from the sender that no gate stands on another lane.
        Fate::Held => (90.0 / (x1 - x0).abs().max(1.0)).min(0.2),
    };
    let (end_x, end_y) = (x0 + (x1 - x0) * way, y0 + (y1 - y0) * way);
    _ = writeln!(out, "<g><title>{}</title>", escaped(&arrow.title));
    let dashes = if arrow.fate == Fate::Open { " stroke-dasharray=\"1 4\"" } else { "" };
    _ = writeln!(out, "<path class=\"line {class}\"{dashes} d=\"M{x0} {y0}L{end_x:.1} {end_y:.1}\"/>");
    _ = writeln!(out, "<circle class=\"f-{class}\" cx=\"{x0}\" cy=\"{y0}\" r=\"3\"/>");
    match arrow.fate {
        Fate::Arrives => {
            let length = (x1 - x0).hypot(y1 - y0).max(1.0);
            let (dx, dy) = ((x1 - x0) / length, (y1 - y0) / length);
            let (bx, by) = (x1 - dx * 10.0, y1 - dy * 10.0);
            let (px, py) = (-dy * 4.5, dx * 4.5);
            _ = writeln!(
                out,
                "<path class=\"head f-{class}\" d=\"M{x1} {y1}L{:.1} {:.1}L{:.1} {:.1}Z\"/>",
                bx + px,
                by + py,
                bx - px,
                by - py
            );
        }
        Fate::Lost => {
            let (l, r, t, b) = (end_x - 5.0, end_x + 5.0, end_y - 5.0, end_y + 5.0);
            _ = writeln!(out, "<path class=\"cross\" d=\"M{l:.1} {t:.1}L{r:.1} {b:.1}M{l:.1} {b:.1}L{r:.1} {t:.1}\"/>");
        }
        Fate::Held => {
            let (left, top) = (end_x - 3.5, end_y - 8.0);
            _ = writeln!(out, "<rect class=\"gate\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"7\" height=\"16\"/>");
        }
        Fate::Open => {}
    }
    out.push_str("</g>\n");
}

fn sign(out: &mut String, mark: Mark, tone: Tone, lane: usize, y: f64) {
    let (x, class) = (x(lane), class_of(tone));
    _ = match mark {
        Mark::Begins => writeln!(
            out,
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"8\" fill=\"#fff\" class=\"line {class}\"/><circle cx=\"{x}\" cy=\"{y}\" \
             r=\"3.5\" class=\"f-{class}\"/>"
        ),
        Mark::Knows => writeln!(out, "<path class=\"f-{class}\" d=\"{}\"/>", star(x, y)),
        Mark::Answers => {
            writeln!(out, "<path class=\"f-{class}\" d=\"M{x} {}l8 8l-8 8l-8 -8Z\"/>", y - 8.0)
        }
        Mark::Crashes => writeln!(out, "<path class=\"cross\" d=\"M{0} {1}l14 14m0 -14l-14 14\"/>", x - 7.0, y - 7.0),
        Mark::Starts => writeln!(out, "<path class=\"line {class}\" d=\"M{} {y}h16\"/>", x - 8.0),
        Mark::Other => writeln!(
            out,
            "<rect x=\"{}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"#fff\" class=\"line {class}\" stroke-dasharray=\"none\"/>",
            x - 5.0,
            y - 5.0
        ),
    };
}

/// Five points, the first one up.
fn star(x: f64, y: f64) -> String {
    let mut path = String::new();
    for point in 0..10 {
        let radius = if point % 2 == 0 { 9.0 } else { 3.8 };
        let angle = std::f64::consts::PI * (f64::from(point) / 5.0 - 0.5);
        let start = if point == 0 { 'M' } else { 'L' };
        _ = write!(path, "{start}{:.1} {:.1}", x + radius * angle.cos(), y + radius * angle.sin());
    }
    path + "Z"
}

fn words(out: &mut String, picture: &Picture, row: &Row, began: u64, y: f64) {
    let left = LEFT + LANE * picture.nodes.len() as f64 + 8.0;
    let more = match (&row.quorum, &row.shape) {
        (Some(quorum), _) => format!("a majority {}: {}", quorum.what, names(picture, &quorum.lanes)),
        (None, Shape::Arrows(arrows)) => match arrows.first().map(|arrow| arrow.fate) {
            Some(Fate::Lost) => "lost".to_owned(),
            Some(Fate::Held) => "held at a gate".to_owned(),
            Some(Fate::Open) => "did not arrive while this was recorded".to_owned(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let first = if more.is_empty() { y + 4.0 } else { y - 3.0 };
    _ = writeln!(out, "<text x=\"{left}\" y=\"{first}\">{}</text>", escaped(&row.label));
    if !more.is_empty() {
        _ = writeln!(out, "<text class=\"small\" x=\"{left}\" y=\"{}\">{}</text>", y + 12.0, escaped(&more));
    }
    let ms = row.us.saturating_sub(began) / 1000;
    _ = writeln!(out, "<text class=\"small\" x=\"4\" y=\"{}\">{ms} ms</text>", y + 4.0);
}

/// All that a row says, for whoever cannot see it.
fn told(picture: &Picture, row: &Row) -> String {
    let quorum = row.quorum.as_ref();
    let quorum = quorum.map(|quorum| format!(" A majority {}: {}.", quorum.what, names(picture, &quorum.lanes)));
    let quorum = quorum.unwrap_or_default();
    match &row.shape {
        Shape::Marks(_, lanes) if lanes.is_empty() => format!("{}.", row.label),
        Shape::Marks(_, lanes) => format!("{} {}.{quorum}", names(picture, lanes), row.label),
        Shape::Arrows(arrows) => {
            let (mut from, mut to) = (Vec::new(), Vec::new());
            for arrow in arrows {
                if !from.contains(&arrow.from) {
                    from.push(arrow.from);
                }
                if !to.contains(&arrow.to) {
                    to.push(arrow.to);
                }
            }
            let how = match arrows.first().map(|arrow| arrow.fate) {
                Some(Fate::Lost) => ", lost",
                Some(Fate::Held) => ", held",
                _ => "",
            };
            format!("{} → {}: {}{how}.{quorum}", names(picture, &from), names(picture, &to), row.label)
        }
    }
}

fn names(picture: &Picture, lanes: &[usize]) -> String {
    let names: Vec<String> = lanes.iter().filter_map(|&lane| picture.nodes.get(lane)).map(u32::to_string).collect();
    names.join(", ")
}

const fn class_of(tone: Tone) -> &'static str {
    match tone {
        Tone::Prepare => "prepare",
        Tone::Promise => "promise",
        Tone::Accept => "accept",
        Tone::Accepted => "accepted",
        Tone::Reject => "reject",
        Tone::Commit => "commit",
        Tone::Election => "election",
        Tone::Plain => "plain",
    }
}

/// Text in XML, which has no control characters.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('·'),
            c if c.is_control() => out.push('·'),
            c => out.push(c),
        }
    }
    out
}
