//! Whatever is learned by gradient steps: dense heads on stored features ([`dense`]), the 52 heads of DINOv2's linear
//! evaluation ([`linear_eval`]). The backbone is not here: it ran once, before, and its features lie in tables.

pub mod dense;
pub mod linear_eval;
mod matmul;
mod random;
