//! A sequence diagram for Mermaid, which many editors and wikis draw.

use std::fmt::Write as _;

use super::{Fate, Picture, Shape};

/// Writes a picture as Mermaid reads it.
#[must_use]
pub fn draw(picture: &Picture) -> String {
    let mut out = String::from("sequenceDiagram\n");
    // Writing to a String cannot fail, here and below.
    for node in &picture.nodes {
        _ = writeln!(out, "    participant n{node} as {node}");
    }
    let name = |lane: usize| picture.nodes.get(lane).map_or_else(String::new, |node| format!("n{node}"));
    for row in &picture.rows {
        let label = escaped(&row.label);
        match &row.shape {
            Shape::Marks(_, lanes) if lanes.is_empty() => {
                if let (Some(first), Some(last)) = (picture.nodes.first(), picture.nodes.last()) {
                    _ = writeln!(out, "    Note over n{first},n{last}: {label}");
                }
            }
            Shape::Marks(_, lanes) => {
                for &lane in lanes {
                    _ = writeln!(out, "    Note over {}: {label}", name(lane));
                }
            }
            Shape::Arrows(arrows) => {
                for arrow in arrows {
                    let (line, more) = match arrow.fate {
                        Fate::Arrives => ("->>", ""),
                        Fate::Lost => ("-x", " (lost)"),
                        Fate::Held => ("--)", " (held)"),
                        Fate::Open => ("--)", ""),
                    };
                    _ = writeln!(out, "    {}{line}{}: {label}{more}", name(arrow.from), name(arrow.to));
                }
                if let Some(quorum) = &row.quorum
                    && let (Some(&first), Some(&last)) = (quorum.lanes.first(), quorum.lanes.last())
                {
                    let nodes: Vec<String> =
                        quorum.lanes.iter().filter_map(|&lane| picture.nodes.get(lane)).map(u32::to_string).collect();
                    let over = format!("{},{}", name(first), name(last));
                    _ = writeln!(out, "    Note over {over}: a majority {}: {}", quorum.what, nodes.join(" "));
                }
            }
        }
    }
    out
}

/// What would end the text, or be read as a code, is written by its number.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '#' | ';' | '<' | '>' | '"' | '%' | '{' | '}' => _ = write!(out, "#{};", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}
