//! All measures of some explanations, each beside its controls, with intervals by resampling images.

use std::sync::atomic::{AtomicBool, Ordering};

use super::impute::Fill;
use super::maps::{Maps, Source};
use super::numbers::{Better, Check, Curves, Measure, Measured, Measures};
use super::randomisation::{likeness, rise};
use super::removal::{Curve, First, LEVELS, Removal, area_under, gap, share};
use super::subject::{Planes, Subject};
use super::{Explained, Observer, concentration, relevance, sensitivity};
use crate::explain::settings::ExplainConfig;
use crate::method::stage2::Attack;
use crate::statistics::mean;

/// What measuring needs.
pub(super) struct Measuring<'a> {
    pub subject: &'a Subject,
    pub explained: &'a Explained,
    pub config: &'a ExplainConfig,
    pub attack: &'a Attack,
    pub stop: &'a AtomicBool,
}

impl Measuring<'_> {
    /// All measures; none if it was asked to stop.
    pub fn all(&self, observer: &mut dyn Observer) -> Option<Measures> {
        let gradient = Maps::of(&self.gradients(&self.explained.chosen.images)?);
        let maps = self.maps(gradient);
        let (mut measures, curves) = self.removals(&maps, observer)?;
        measures.extend(self.relevant(&maps));
        measures.extend(self.sensitivities(observer)?);
        measures.extend(self.concentrations(&maps));
        let checks = self.checks(&maps, observer)?;
        Some(Measures {
            measures,
            checks,
            curves,
        })
    }

    fn seed(&self) -> u64 {
        self.config.run.seed
    }

    fn at_once(&self) -> usize {
        self.config.explain.at_once
    }

    fn gradients(&self, images: &Planes) -> Option<Planes> {
        let at = (self.subject.numbers(), self.at_once());
        let predicted = &self.explained.predicted;
        let going_on = !self.stop.load(Ordering::Relaxed);
        going_on.then(|| self.subject.gradients(images, predicted, at))
    }

    fn maps(&self, gradient: Maps) -> Vec<(Source, Maps)> {
        let images = &self.explained.chosen.images;
        let own = Maps::of(&self.explained.delta);
        let all = Source::ALL.map(|source| {
            let maps = match source {
                Source::Explanation => own.clone(),
                Source::Random => Maps::random(images.count(), own.shape, (self.seed(), 0)),
                Source::Edges => Maps::edges(images),
                Source::Gradient => gradient.clone(),
                Source::Other => own.of_others(),
            };
            (source, maps)
        });
        // A single image has no other.
        let alone = images.count() < 2;
        let all = all.into_iter();
        all.filter(|(source, _)| !(alone && *source == Source::Other))
            .collect()
    }

    fn removals(
        &self,
        maps: &[(Source, Maps)],
        observer: &mut dyn Observer,
    ) -> Option<(Vec<Measure>, Vec<Curves>)> {
        let chosen = &self.explained.chosen;
        let removal = Removal {
            subject: self.subject,
            images: &chosen.images,
            predicted: &self.explained.predicted,
            counted: chosen.labels.as_ref().unwrap_or(&self.explained.predicted),
            seed: self.seed(),
            at_once: self.at_once(),
        };
        let fills = [
            (Fill::NoisyLinear, "noisy-linear"),
            (Fill::Mean, "mean"),
            (Fill::Blur, "blur"),
        ];
        let steps = maps.len() * fills.len() * 2 * LEVELS;
        observer.begun("ROAD, deletion and insertion", steps as u64);
        let orders: Vec<Vec<Vec<u32>>> = maps.iter().map(|(_, m)| m.orders(self.seed())).collect();
        let (mut curves, mut found) = (Vec::new(), Found::default());
        for (fill, name) in fills {
            let ends = removal.ends(fill);
            for ((source, _), order) in maps.iter().zip(&orders) {
                let mut both = Vec::new();
                for first in [First::Most, First::Least] {
                    let tick = &mut || observer.step();
                    both.push(removal.curve(order, (fill, first), (tick, self.stop))?);
                }
                curves.push(means(*source, name, &both));
                found.add(*source, fill, &both, &ends);
            }
        }
        Some((found.measures(), curves))
    }

    fn relevant(&self, maps: &[(Source, Maps)]) -> Vec<Measure> {
        let Some(masks) = &self.explained.chosen.masks else {
            return Vec::new();
        };
        let area = self.explained.chosen.images.area();
        let mask = |i: usize| &masks[i * area..][..area];
        let ordered: Vec<(Source, &Maps, Vec<Vec<u32>>)> = maps
            .iter()
            .map(|(source, maps)| (*source, maps, maps.orders(self.seed())))
            .collect();
        let of = |value: &dyn Fn(&Maps, &[u32], usize) -> f64| {
            let one = |(source, maps, orders): &(Source, &Maps, Vec<Vec<u32>>)| {
                let values = (0..maps.count()).map(|i| value(maps, &orders[i], i));
                (*source, values.collect())
            };
            ordered.iter().map(one).collect::<Vec<_>>()
        };
        let higher = Better::Higher;
        vec![
            Measure::new(
                ("mass", "relevant pixels, mass"),
                higher,
                of(&|maps, _, i| relevance::mass(maps.map(i), mask(i))),
            ),
            Measure::new(
                ("rank", "relevant pixels, rank"),
                higher,
                of(&|_, order, i| relevance::rank(order, mask(i))),
            ),
            Measure::new(
                ("pointing", "pointing game"),
                higher,
                of(&|_, order, i| relevance::pointing(order, mask(i))),
            ),
        ]
    }

    fn sensitivities(&self, observer: &mut dyn Observer) -> Option<Vec<Measure>> {
        let e = &self.config.explain;
        let images = &self.explained.chosen.images;
        let (count, seed) = (images.count(), self.seed());
        observer.begun("sensitivity", e.sensitivity_draws as u64);
        let at = (self.subject.numbers(), self.at_once());
        let starts = |draw: u64| self.subject.starts(count, self.attack, (seed, draw));
        let explain = |images: &Planes, draw: u64| {
            let starts = starts(draw);
            self.subject.explanations(images, &starts, self.attack, at)
        };
        let maps_as_planes = |maps: Maps| Planes {
            shape: [1, maps.shape[0], maps.shape[1]],
            values: maps.values,
        };
        let edges = maps_as_planes(Maps::edges(images));
        let gradient = self.gradients(images)?;
        let delta = &self.explained.delta;
        let map = |planes: &Planes| maps_as_planes(Maps::of(planes));
        let (own_map, gradient_map) = (map(delta), map(&gradient));
        let mut most = [const { Vec::new() }; 6];
        for draw in 1..=e.sensitivity_draws as u64 {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let shifted = sensitivity::shifted(images, e.sensitivity_radius, (seed, draw));
            let (anew, slopes) = (explain(&shifted, draw), self.gradients(&shifted)?);
            let now = [
                sensitivity::moved(delta, &explain(&shifted, 0)),
                sensitivity::moved(delta, &anew),
                sensitivity::moved(&own_map, &map(&anew)),
                sensitivity::moved(&gradient, &slopes),
                sensitivity::moved(&gradient_map, &map(&slopes)),
                sensitivity::moved(&edges, &maps_as_planes(Maps::edges(&shifted))),
            ];
            most = std::array::from_fn(|i| match draw {
                1 => now[i].clone(),
                _ => sensitivity::larger(&most[i], &now[i]),
            });
            observer.step();
        }
        let [fixed, anew, anew_map, gradient, gradient_map, edges] = most;
        let beside = |own: Vec<f64>, gradient: &[f64]| {
            vec![
                (Source::Explanation, own),
                (Source::Edges, edges.clone()),
                (Source::Gradient, gradient.to_vec()),
            ]
        };
        Some(vec![
            Measure::new(
                ("sensitivity_fixed", "max. sensitivity, start fixed"),
                Better::Lower,
                beside(fixed, &gradient),
            ),
            Measure::new(
                ("sensitivity_anew", "max. sensitivity, start anew"),
                Better::Lower,
                beside(anew, &gradient),
            ),
            Measure::new(
                ("sensitivity_map", "the same, of the map"),
                Better::Lower,
                beside(anew_map, &gradient_map),
            ),
        ])
    }

    fn concentrations(&self, maps: &[(Source, Maps)]) -> Vec<Measure> {
        let of = |value: fn(&[f32]) -> f64| {
            // Another image's explanations are the same ones.
            let maps = maps.iter().filter(|(s, _)| *s != Source::Other);
            maps.map(|(source, maps)| (*source, maps.each(|_, map| value(map))))
                .collect::<Vec<_>>()
        };
        let delta = &self.explained.delta;
        let at_epsilon = |i| concentration::at_epsilon(delta.image(i), &self.attack.epsilon);
        let at_epsilon = (0..delta.count()).map(at_epsilon).collect();
        let neither = Better::Neither;
        vec![
            Measure::new(("gini", "Gini index"), neither, of(concentration::gini)),
            Measure::new(("ties", "share of ties"), neither, of(concentration::ties)),
            Measure::new(
                ("at_epsilon", "share of |δ| at ε"),
                neither,
                vec![(Source::Explanation, at_epsilon)],
            ),
        ]
    }

    fn checks(&self, maps: &[(Source, Maps)], observer: &mut dyn Observer) -> Option<Vec<Check>> {
        let images = &self.explained.chosen.images;
        let (count, seed) = (images.count(), self.seed());
        let redraws = self.config.explain.redraws as u64;
        observer.begun("randomisation", redraws + 1);
        let starts = |draw: u64| self.subject.starts(count, self.attack, (seed, draw));
        let own = (self.subject.numbers(), self.at_once());
        let again = self
            .subject
            .explanations(images, &starts(1), self.attack, own);
        let again = Maps::of(&again);
        observer.step();
        let find = |wanted: Source| {
            let mut all = maps.iter();
            all.find(|(source, _)| *source == wanted).map(|(_, m)| m)
        };
        let (explanation, gradient, edges) = (
            find(Source::Explanation)?,
            find(Source::Gradient)?,
            find(Source::Edges)?,
        );
        let mut checking = [
            Checking::new(Source::Explanation, explanation, &again),
            Checking::new(Source::Gradient, gradient, gradient),
            Checking::new(Source::Edges, edges, edges),
        ];
        for redraw in 0..redraws {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            // Seeds of other runs have redraws of their own.
            let numbers = self.subject.redrawn((redraw << 32) ^ seed);
            let at = (&numbers, self.at_once());
            let delta = self
                .subject
                .explanations(images, &starts(0), self.attack, at);
            checking[0].add(&Maps::of(&delta), redraws);
            let predicted = &self.explained.predicted;
            let slopes = self.subject.gradients(images, predicted, at);
            checking[1].add(&Maps::of(&slopes), redraws);
            checking[2].add(edges, redraws);
            observer.step();
        }
        Some(checking.into_iter().map(Checking::done).collect())
    }
}

/// A check that is under way.
struct Checking<'a> {
    source: Source,
    before: &'a Maps,
    ceiling: Vec<f64>,
    likeness: Vec<f64>,
    rise: Vec<f64>,
}

impl<'a> Checking<'a> {
    fn new(source: Source, before: &'a Maps, again: &Maps) -> Self {
        let shape = before.shape;
        Self {
            source,
            ceiling: before.each(|i, map| likeness(map, again.map(i), shape)),
            likeness: vec![0.0; before.count()],
            rise: vec![0.0; before.count()],
            before,
        }
    }

    fn add(&mut self, after: &Maps, redraws: u64) {
        let (shape, share) = (self.before.shape, 1.0 / redraws as f64);
        let found = self.before.each(|i, map| {
            let after = after.map(i);
            (likeness(map, after, shape), rise(map, after))
        });
        for (i, (likeness, rise)) in found.into_iter().enumerate() {
            self.likeness[i] += likeness * share;
            self.rise[i] += rise * share;
        }
    }

    fn done(self) -> Check {
        let likeness = Measured::new(self.source, self.likeness);
        let ceiling = Measured::new(self.source, self.ceiling);
        let rise = Measured::new(self.source, self.rise);
        let (high, low) = (
            likeness.interval.map_or(likeness.mean, |[_, high]| high),
            rise.interval.map_or(rise.mean, |[low, _]| low),
        );
        Check {
            source: self.source,
            likeness_passed: high < 0.5 * ceiling.mean,
            rise_passed: low > 0.0,
            likeness,
            likeness_of_starts: ceiling,
            rise,
        }
    }
}

/// The mean curves of a source.
fn means(source: Source, fill: &'static str, both: &[Curve]) -> Curves {
    let of = |levels: &[Vec<f64>]| levels.iter().map(|l| mean(l)).collect();
    Curves {
        source,
        fill,
        removed: (0..LEVELS).map(share).collect(),
        accuracy_most_first: of(&both[0].correct),
        accuracy_least_first: of(&both[1].correct),
        probability_most_first: of(&both[0].probability),
        probability_least_first: of(&both[1].probability),
    }
}

type BySource = Vec<(Source, Vec<f64>)>;

/// What removals have given so far.
#[derive(Default)]
struct Found {
    road: BySource,
    road_probability: BySource,
    deletion: [BySource; 2],
    insertion: [BySource; 2],
}

impl Found {
    fn add(&mut self, source: Source, fill: Fill, both: &[Curve], ends: &[Vec<f64>; 2]) {
        let (most, least) = (&both[0], &both[1]);
        let place = match fill {
            Fill::NoisyLinear => {
                self.road.push((source, gap(&least.correct, &most.correct)));
                let gap = gap(&least.probability, &most.probability);
                self.road_probability.push((source, gap));
                return;
            }
            Fill::Mean => 0,
            Fill::Blur => 1,
        };
        let [whole, none] = ends;
        let area = |curve: &Curve| area_under(whole, &curve.probability, none);
        // That the least relevant go is that the most relevant come, seen from the other end.
        self.deletion[place].push((source, area(most)));
        self.insertion[place].push((source, area(least)));
    }

    fn measures(self) -> Vec<Measure> {
        let [deletion_mean, deletion_blur] = self.deletion;
        let [insertion_mean, insertion_blur] = self.insertion;
        let (higher, lower) = (Better::Higher, Better::Lower);
        [
            ("road", "ROAD, gap in accuracy", higher, self.road),
            (
                "road_probability",
                "ROAD, gap in probability",
                higher,
                self.road_probability,
            ),
            ("deletion_mean", "deletion, mean fill", lower, deletion_mean),
            ("deletion_blur", "deletion, blurred", lower, deletion_blur),
            (
                "insertion_mean",
                "insertion, mean fill",
                higher,
                insertion_mean,
            ),
            (
                "insertion_blur",
                "insertion, blurred",
                higher,
                insertion_blur,
            ),
        ]
        .map(|(key, name, better, values)| Measure::new((key, name), better, values))
        .into()
    }
}
