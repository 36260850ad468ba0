//! Images and their explanations.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat, RgbImage};
use maud::{Markup, html};

use super::Section;
use crate::explain::diverging;
use crate::report::chart::percent;
use crate::report::read::{Example, Examples, HEARD, RunData};

/// The page's ground, where δ is 0.
const GROUND: [f32; 3] = [245.0, 244.0, 240.0];

/// The section; none without examples.
pub fn section(run: &RunData) -> Option<Section> {
    let examples = run.examples.as_ref()?;
    let classes: Vec<String> =
        serde_json::from_value(run.about["classes"].clone()).unwrap_or_default();
    let name = |class: usize| {
        classes
            .get(class)
            .cloned()
            .unwrap_or_else(|| class.to_string())
    };
    let told_to = weighting(run);
    let told = match examples.explanation.as_str() {
        "attack" => "δ is the attack on the explainer's own prediction",
        "shuffled" => &format!(
            "δ is the attack on the explainer's own prediction, and {told_to} has that of another image (a control)"
        ),
        "random-signs" => "δ is random signs (a control)",
        _ => "δ is 1 everywhere (a control)",
    };
    let heard = examples
        .all
        .first()
        .is_some_and(|e| e.predictions.len() > 2);
    let audience = match heard {
        true => format!("; the audience is told {told_to}"),
        false => String::new(),
    };
    Some(Section {
        id: "explanations",
        title: "Explanations",
        body: html! {
            p.lead {
                "Validation images after epoch " (examples.epoch) ". " (told) (audience) ". In δ red raises a pixel and blue lowers it, up to ±ε; where \
                 outlines are drawn, the pixels that matter are known to be inside."
            }
            div.gallery {
                @for (number, example) in examples.all.iter().enumerate() { (card(examples, example, (number, told_to), &name)) }
            }
        },
    })
}

/// How an explanation weights an image.
fn weighting(run: &RunData) -> &'static str {
    match run.setting("method", "reweighting").as_deref() {
        Some("magnitude") => "|δ| ⊙ x",
        _ => "δ ⊙ x",
    }
}

fn card(
    examples: &Examples,
    example: &Example,
    (number, told_to): (usize, &str),
    name: &dyn Fn(usize) -> String,
) -> Markup {
    let truth = name(example.label);
    let pictures = [
        (
            "x",
            picture(examples, |c, p| {
                example.image[c * area(examples) + p] * 255.0
            }),
            "the image",
        ),
        ("δ", delta(examples, example), "its explanation"),
        (
            told_to,
            weighted(examples, example),
            "the image weighted by the explanation",
        ),
    ];
    html! {
        figure.example id=(format!("example-{number}")) {
            figcaption { h3 { "Class " (truth) } }
            div.triple {
                @for (label, source, what) in &pictures {
                    div {
                        div.framed {
                            img src=(source) alt=(format!("Image {} of class {truth}: {what}", number + 1)) width=(examples.shape[2]) height=(examples.shape[1]);
                            @if let Some(mask) = &example.relevant { (outline(mask, examples.shape)) }
                        }
                        span { (label) }
                    }
                }
            }
            dl.predictions {
                @for (who, probabilities) in &example.predictions {
                    @let (class, probability) = top(probabilities);
                    div.wrong[class != example.label] {
                        dt { (who) @if *who == HEARD { (told_to) } }
                        dd { (name(class)) " " span { (percent(f64::from(probability))) @if class != example.label { span.sr { " (wrong)" } } } }
                    }
                }
            }
        }
    }
}

/// The likeliest class.
fn top(probabilities: &[f32]) -> (usize, f32) {
    let all = probabilities.iter().copied().enumerate();
    all.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
}

fn area(examples: &Examples) -> usize {
    examples.shape[1] * examples.shape[2]
}

/// A box around the pixels that matter.
fn outline(mask: &[bool], [_, height, width]: [usize; 3]) -> Markup {
    let inside: Vec<(usize, usize)> = (0..mask.len())
        .filter(|p| mask[*p])
        .map(|p| (p % width, p / width))
        .collect();
    let (mut left, mut top, mut right, mut bottom) = (width, height, 0, 0);
    for (x, y) in &inside {
        (left, top) = (left.min(*x), top.min(*y));
        (right, bottom) = (right.max(x + 1), bottom.max(y + 1));
    }
    if inside.is_empty() {
        return html! {};
    }
    html! {
        svg viewBox=(format!("0 0 {width} {height}")) aria-hidden="true" {
            rect.relevant x=(left) y=(top) width=(right - left) height=(bottom - top) {}
        }
    }
}

/// δ as colours around the page's ground: blue below 0, red above.
fn delta(examples: &Examples, example: &Example) -> String {
    let (channels, area) = (examples.shape[0], area(examples));
    let value = |pixel: usize| {
        let all = (0..channels).map(|c| {
            let epsilon = examples.epsilon.get(c).copied().unwrap_or(1.0).max(1e-12) as f32;
            example.delta[c * area + pixel] / epsilon
        });
        (all.sum::<f32>() / channels as f32).clamp(-1.0, 1.0)
    };
    coloured(examples, |pixel| diverging(value(pixel), GROUND))
}

/// What the audience is told, each image over its own range, grey being 0.
fn weighted(examples: &Examples, example: &Example) -> String {
    let largest = example
        .weighted
        .iter()
        .fold(1e-12f32, |m, v| m.max(v.abs()));
    picture(examples, |c, p| {
        127.5 + 127.5 * example.weighted[c * area(examples) + p] / largest
    })
}

/// Grey or colours, by channel and pixel.
fn picture(examples: &Examples, value: impl Fn(usize, usize) -> f32) -> String {
    let colours = examples.shape[0] == 3;
    coloured(examples, |pixel| {
        std::array::from_fn(|i| value(if colours { i } else { 0 }, pixel))
    })
}

/// A PNG as an address that has it in itself.
fn coloured(examples: &Examples, colour: impl Fn(usize) -> [f32; 3]) -> String {
    let [_, height, width] = examples.shape;
    let bytes = (0..area(examples))
        .flat_map(|pixel| colour(pixel).map(|v| v.clamp(0.0, 255.0).round() as u8));
    let image = RgbImage::from_raw(width as u32, height as u32, bytes.collect());
    let mut png = Cursor::new(Vec::new());
    // Memory does not refuse a picture; an empty one is shown by its words.
    let written =
        image.map(|image| DynamicImage::ImageRgb8(image).write_to(&mut png, ImageFormat::Png));
    match written {
        Some(Ok(())) => format!(
            "data:image/png;base64,{}",
            STANDARD.encode(png.into_inner())
        ),
        _ => "data:,".into(),
    }
}
