//! Measures of explanations, held against what the authors' public code gives (`reference/make_explain.py`).

use lease::explain::removal::{First, removed};
use lease::explain::{Maps, Planes, impute, sensitivity};
use serde::Deserialize;

#[derive(Deserialize)]
struct Frozen {
    road: Road,
    sensitivity: Sensitivity,
}

#[derive(Deserialize)]
struct Road {
    shape: [usize; 3],
    image: Vec<f32>,
    relevance: Vec<f32>,
    imputed: Vec<Imputed>,
}

#[derive(Deserialize)]
struct Imputed {
    most_first: bool,
    removed: usize,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct Sensitivity {
    shape: [usize; 4],
    explanations: Vec<f32>,
    after: Vec<Vec<f32>>,
    sensitivity: Vec<f64>,
}

fn frozen() -> Frozen {
    serde_json::from_str(include_str!("data/explain.json")).unwrap()
}

#[test]
fn roads_images_are_those_of_its_authors() {
    let road = frozen().road;
    let [_, h, w] = road.shape;
    let maps = Maps {
        values: road.relevance,
        shape: [h, w],
    };
    let order = &maps.orders(0)[0];
    assert_eq!(road.imputed.len(), 18);
    for step in road.imputed {
        let first = match step.most_first {
            true => First::Most,
            false => First::Least,
        };
        let missing = removed(order, first, step.removed);
        let ours = impute::linear(&road.image, road.shape, missing);
        for (ours, theirs) in ours.iter().zip(&step.values) {
            assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
        }
    }
}

#[test]
fn maximum_sensitivity_is_that_of_captum() {
    let frozen = frozen().sensitivity;
    let [_, c, h, w] = frozen.shape;
    let planes = |values: Vec<f32>| Planes {
        values,
        shape: [c, h, w],
    };
    let before = planes(frozen.explanations);
    let draws = frozen.after.into_iter().map(planes);
    let moved = draws.map(|after| sensitivity::moved(&before, &after));
    let most = moved.reduce(|most, now| sensitivity::larger(&most, &now));
    for (ours, theirs) in most.unwrap().iter().zip(&frozen.sensitivity) {
        assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
    }
    assert_eq!(frozen.sensitivity.len(), 2);
}
