//! A picture in a terminal: 80 columns, drawn with box characters.
//!
//! ```text
//!   8000    8001    8002
//!    ◎       │       │    begins ballot 1.8000
//!    ●──────▶┼──────▶│    Prepare 1.8000
//!    │◀──────●───────●    Promise 1.8000 ✓ 3 of 3
//! ```

use super::{Arrow, Fate, Mark, Picture, Row, Shape};

/// The width that every terminal has.
pub const WIDTH: usize = 80;
/// Columns of a lane, if there are few.
const LANE: usize = 8;
/// Columns that are left for the words, at least.
const WORDS: usize = 22;

/// Draws a picture, so many columns wide; each line ends in a line feed.
#[must_use]
pub fn draw(picture: &Picture, width: usize) -> String {
    let lanes = picture.nodes.len().max(1);
    let lane = (width.saturating_sub(WORDS) / lanes).clamp(4, LANE);
    let sheet = Sheet { lane, width };
    let mut out = String::new();
    let mut names = vec![' '; lanes * lane];
    for (at, node) in picture.nodes.iter().enumerate() {
        let name = node.to_string();
        let start = sheet.x(at).saturating_sub(name.chars().count() / 2);
        for (place, c) in names[start.min(lanes * lane - 1)..].iter_mut().zip(name.chars()) {
            *place = c;
        }
    }
    push(&mut out, names.into_iter().collect());
    if picture.cut {
        push(&mut out, sheet.plain(picture, None, "…  (what came before is left out)"));
    }
    for row in &picture.rows {
        push(&mut out, sheet.row(picture, row));
    }
    out
}

fn push(out: &mut String, line: String) {
    out.push_str(line.trim_end());
    out.push('\n');
}

struct Sheet {
    lane: usize,
    width: usize,
}

impl Sheet {
    /// The column of a lane.
    const fn x(&self, lane: usize) -> usize {
        lane * self.lane + self.lane / 2
    }

    fn row(&self, picture: &Picture, row: &Row) -> String {
        let mut label = row.label.clone();
        if let Some(quorum) = &row.quorum {
            label.push_str(&format!(" ✓ {} of {}", quorum.lanes.len(), picture.nodes.len()));
        }
        match &row.shape {
            Shape::Marks(mark, lanes) => {
                let mut cells = self.lanes(picture, row);
                for &lane in lanes {
                    cells[self.x(lane)] = sign(*mark);
                }
                self.line(cells, &label)
            }
            Shape::Arrows(arrows) => {
                let fate = arrows.first().map_or(Fate::Arrives, |arrow| arrow.fate);
                label.push_str(match fate {
                    Fate::Arrives => "",
                    Fate::Lost => "  ✗ lost",
                    Fate::Held => "  held",
                    Fate::Open => "  …",
                });
                let mut cells = self.lanes(picture, row);
                arrows.iter().for_each(|arrow| self.stroke(&mut cells, arrow));
                arrows.iter().for_each(|arrow| self.heads(&mut cells, arrow));
                self.line(cells, &label)
            }
        }
    }

    fn plain(&self, picture: &Picture, row: Option<&Row>, label: &str) -> String {
        let cells = row.map_or_else(|| vec![' '; picture.nodes.len() * self.lane], |row| self.lanes(picture, row));
        self.line(cells, label)
    }

    /// The lanes of a row, of which those that are down are empty.
    fn lanes(&self, picture: &Picture, row: &Row) -> Vec<char> {
        let mut cells = vec![' '; picture.nodes.len() * self.lane];
        for lane in 0..picture.nodes.len() {
            cells[self.x(lane)] = if row.down.contains(&lane) { ' ' } else { '│' };
        }
        cells
    }

    fn line(&self, cells: Vec<char>, label: &str) -> String {
        let left: String = cells.into_iter().collect();
        let room = self.width.saturating_sub(left.chars().count() + 1);
        let label: String = if label.chars().count() <= room {
            label.to_owned()
        } else {
            label.chars().take(room.saturating_sub(1)).chain(['…']).collect()
        };
        format!("{left} {label}")
    }

    /// The line of an arrow, between its ends.
    fn stroke(&self, cells: &mut [char], arrow: &Arrow) {
        let (left, right) = order(self.x(arrow.from), self.x(arrow.to));
        let solid = matches!(arrow.fate, Fate::Arrives | Fate::Lost);
        for cell in &mut cells[left + 1..right] {
            *cell = match *cell {
                '│' | '┼' => '┼',
                _ if solid => '─',
                _ => '┄',
            };
        }
    }

    /// Its ends.
    fn heads(&self, cells: &mut [char], arrow: &Arrow) {
        let (from, to) = (self.x(arrow.from), self.x(arrow.to));
        let right = from < to;
        cells[from] = '●';
        let head = if right { to - 1 } else { to + 1 };
        cells[head] = match (arrow.fate, right) {
            (Fate::Lost, _) => '✗',
            (Fate::Held, _) => '▯',
            (_, true) => '▶',
            (_, false) => '◀',
        };
    }
}

const fn order(one: usize, other: usize) -> (usize, usize) {
    if one < other { (one, other) } else { (other, one) }
}

const fn sign(mark: Mark) -> char {
    match mark {
        Mark::Begins => '◎',
        Mark::Knows => '★',
        Mark::Answers => '◆',
        Mark::Crashes => '╳',
        Mark::Starts => '┬',
        Mark::Other => '◇',
    }
}
