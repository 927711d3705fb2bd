//! What a lab can do: hold messages back, so that a race comes out the same every time; have links fail on demand; and
//! keep what happened, to be drawn and explained.

pub mod diagram;
pub mod explain;
pub mod gates;
pub mod links;
pub mod trace;
