//! Whether a map lies on the pixels that are known to matter.
//!
//! With M the relevant pixels and r the map (Arras et al., *CLEVR-XAI*, arXiv 2003.07258; the pointing game: Zhang et al., arXiv
//! 1608.00507). A map that knows nothing has about |M| / (h w) by all three.

/// Σ_M r / Σ r: the share of the map that lies on them; 0 for a map of zeros.
pub fn mass(map: &[f32], mask: &[bool]) -> f64 {
    let all: f64 = map.iter().map(|v| f64::from(*v)).sum();
    let on = map.iter().zip(mask).filter(|(_, matters)| **matters);
    let inside: f64 = on.map(|(v, _)| f64::from(*v)).sum();
    if all == 0.0 { 0.0 } else { inside / all }
}

/// The share of the first |M| pixels of an order that are in M.
pub fn rank(order: &[u32], mask: &[bool]) -> f64 {
    let count = mask.iter().filter(|matters| **matters).count();
    let first = order.iter().take(count);
    let hits = first.filter(|pixel| mask[**pixel as usize]).count();
    hits as f64 / count.max(1) as f64
}

/// 1 if the first pixel of an order is in M, else 0.
pub fn pointing(order: &[u32], mask: &[bool]) -> f64 {
    let first = order.first().is_some_and(|pixel| mask[*pixel as usize]);
    f64::from(u8::from(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mass_rank_and_pointing_count_what_is_on_the_mask() {
        let (map, mask) = ([4.0, 1.0, 2.0, 1.0], [true, true, false, false]);
        let order = [0, 2, 1, 3];
        assert_eq!(mass(&map, &mask), 5.0 / 8.0);
        assert_eq!(rank(&order, &mask), 0.5);
        assert_eq!([pointing(&order, &mask), pointing(&[3], &mask)], [1.0, 0.0]);
    }
}
