//! `synod`: the shell and the nodes.

fn main() {}
