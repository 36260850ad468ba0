//! prog
fn main(){}
