//! DrNAS's mixture (Chen et al., arXiv 2006.10355): an edge's weights are drawn from Dir(β), β = elu(α) + 1.
//!
//! θ = g / Σ g with g_k ~ Γ(β_k), and g_k = P⁻¹(β_k, u_k) for a uniform u_k and the regularised incomplete gamma function
//! P. At fixed u this is a smooth function of β, whose derivative is exact: ∂ ln g/∂β = −(∂P/∂β) / (∂P/∂ ln g). (PyTorch
//! takes another path to the same expectation, by marginal Beta distributions.) Everything is computed in ln g, since g
//! underflows for small β.

use special::Gamma;

use crate::space::softmax;

/// Uniform draws are kept this far from 0 and 1.
const MARGIN: f64 = 1e-9;

/// β = elu(α) + 1, above 0.
pub fn concentration(alpha: f64) -> f64 {
    if alpha > 0.0 {
        alpha + 1.0
    } else {
        alpha.exp()
    }
}

/// ∂β/∂α.
pub fn concentration_derivative(alpha: f64) -> f64 {
    alpha.min(0.0).exp()
}

/// ln Γ(x), x > 0.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    Gamma::ln_gamma(x).0
}

/// Σ_n c_n and Σ_n c_n (ln x − ψ(a + n + 1)), c_n = xⁿ / (a (a + 1) … (a + n)): P(a, x) and ∂P/∂a, both as multiples of
/// ∂P/∂ ln x = x^a e^(−x) / Γ(a).
fn series(a: f64, ln_x: f64) -> [f64; 2] {
    let x = ln_x.exp();
    let (mut c, mut psi) = (1.0 / a, a.digamma() + 1.0 / a);
    let mut sums = [c, c * (ln_x - psi)];
    for n in 1..10_000 {
        let next = a + n as f64;
        c *= x / next;
        psi += 1.0 / next;
        sums[0] += c;
        sums[1] += c * (ln_x - psi);
        if next > x && c <= sums[0] * 1e-17 {
            break;
        }
    }
    sums
}

/// ln g and ∂ ln g/∂β of the gamma variable with P(β, g) = u.
pub(super) fn log_gamma_variable(beta: f64, u: f64) -> [f64; 2] {
    let u = u.clamp(MARGIN, 1.0 - MARGIN);
    // P(β, x) ≤ x^β / Γ(β + 1) makes this a lower bound, and ln P is concave in ln x, so that Newton's steps approach the
    // root from below.
    let mut ln_x = (u.ln() + ln_gamma(beta + 1.0)) / beta;
    let ln_gamma = ln_gamma(beta);
    let mut sums = series(beta, ln_x);
    for _ in 0..200 {
        let ln_p = beta * ln_x - ln_x.exp() - ln_gamma + sums[0].ln();
        let step = (u.ln() - ln_p) * sums[0];
        ln_x += step;
        sums = series(beta, ln_x);
        if step.abs() <= 1e-14 * ln_x.abs().max(1.0) {
            break;
        }
    }
    [ln_x, -sums[1]]
}

/// The weights of an edge and their derivatives ∂θ_i/∂α_j, for one uniform number each.
pub fn weights(row: &[f64], uniform: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let each = row.iter().zip(uniform);
    let logs: Vec<[f64; 2]> = each
        .map(|(a, u)| {
            let [ln_g, derivative] = log_gamma_variable(concentration(*a), *u);
            [ln_g, derivative * concentration_derivative(*a)]
        })
        .collect();
    let theta = softmax(&logs.iter().map(|[ln_g, _]| *ln_g).collect::<Vec<_>>());
    let through = super::softmax_derivative(&theta);
    let jacobian = through
        .into_iter()
        .map(|row| row.iter().zip(&logs).map(|(d, [_, l])| d * l).collect())
        .collect();
    (theta, jacobian)
}
