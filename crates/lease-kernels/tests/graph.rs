//! What must hold of the kernels by themselves, without a second implementation to compare with.

use lease_kernels::field::Field;
use lease_kernels::graph::{
    Geometry, Gradients, Graph, Id, Normalise, Pass, SquareKernel, Term, Wanted, Window,
};
use lease_kernels::plane::Size;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A network with every kind of unit and state, its weights counted as they are placed.
struct Network {
    graph: Graph,
    weights: usize,
    coefficients: usize,
}

impl Network {
    fn conv(&mut self, sources: &[Id], rectify: bool, kernel: SquareKernel, outputs: usize) -> Id {
        let inputs: usize = sources.iter().map(|s| self.graph.channels(*s)).sum();
        let matrix = self.place(outputs * inputs * kernel.taps());
        let places = (0, vec![matrix]);
        self.graph
            .conv(sources, rectify, Geometry::Dense(kernel), places, outputs)
    }

    fn separable(&mut self, source: Id, kernel: SquareKernel) -> Id {
        let channels = self.graph.channels(source);
        let taps = self.place(channels * kernel.taps());
        let matrix = self.place(channels * channels);
        let geometry = Geometry::Separable(kernel);
        self.graph
            .conv(&[source], true, geometry, (taps, vec![matrix]), channels)
    }

    fn reduce(&mut self, source: Id) -> Id {
        let channels = self.graph.channels(source);
        let half = channels / 2;
        let matrices = [half, channels - half].map(|n| self.place(n * channels));
        let places = (0, matrices.to_vec());
        self.graph
            .conv(&[source], true, Geometry::Reduce, places, channels)
    }

    fn place(&mut self, n: usize) -> usize {
        self.weights += n;
        self.weights - n
    }

    fn plain(&mut self, unit: Id) -> Term {
        self.coefficients += 1;
        Term::new(unit, Normalise::Plain).times(self.coefficients - 1)
    }

    fn affine(&mut self, unit: Id) -> Term {
        let channels = self.graph.channels(unit);
        let scale = self.place(channels);
        let shift = self.place(channels);
        Term::new(unit, Normalise::Affine { scale, shift })
    }

    /// Inputs of 3 channels; `channels` must be even.
    fn new(channels: usize, stride: usize) -> Self {
        let (graph, input) = Graph::new(3);
        let mut n = Self {
            graph,
            weights: 0,
            coefficients: 0,
        };
        let stem = n.conv(&[input], false, SquareKernel::new(3, 1), channels);
        let stem = n.affine(stem);
        let first = n.graph.state(vec![stem], true);
        let dilated = SquareKernel {
            size: 5,
            dilation: 2,
            stride,
        };
        let mut units = vec![
            n.separable(first, SquareKernel::new(3, stride)),
            n.separable(first, dilated),
            n.conv(&[first], true, SquareKernel::new(3, stride), channels),
            n.graph.max_pool(first, Window::three(stride)),
            n.graph.avg_pool(first, Window::three(stride)),
        ];
        if stride == 2 {
            units.push(n.reduce(first));
        }
        let mut terms: Vec<Term> = units.into_iter().map(|u| n.plain(u)).collect();
        if stride == 1 {
            terms.push(Term::new(first, Normalise::Not));
        }
        let mixed = n.graph.state(terms, false);
        let joined = n.conv(&[mixed, mixed], true, SquareKernel::new(1, 1), channels);
        let joined = n.plain(joined);
        let passing = n.graph.passing(joined);
        let last = n.separable(passing, SquareKernel::new(5, 1));
        let last = n.affine(last);
        let last = n
            .graph
            .state(vec![last, Term::new(mixed, Normalise::Not)], true);
        n.graph.output_means(&[mixed, last]);
        n.graph.output(&[last]);
        n.graph = n.graph.arranged();
        n
    }
}

/// A point or a direction: weights, coefficients and images.
#[derive(Clone)]
struct Point {
    weights: Vec<f32>,
    coefficients: Vec<f32>,
    images: Vec<f32>,
}

impl Point {
    fn random(network: &Network, pixels: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut draw = |n| (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect();
        Self {
            weights: draw(network.weights),
            coefficients: draw(network.coefficients),
            images: draw(3 * pixels),
        }
    }

    /// Images, if there are any.
    fn of_images(&self) -> Option<&[f32]> {
        Some(self.images.as_slice()).filter(|images| !images.is_empty())
    }

    fn lengths(&self) -> (usize, usize) {
        (self.weights.len(), self.coefficients.len())
    }

    /// Gradients, those of the images without their tangents'.
    fn from_gradients(gradients: Gradients) -> Self {
        let mut images = Vec::new();
        if let Some(field) = gradients.input {
            for i in 0..field.images {
                field.read_planes(i, 3, false, &mut images);
            }
        }
        Self {
            weights: gradients.weights,
            coefficients: gradients.coefficients,
            images,
        }
    }

    fn dot(&self, other: &Self) -> (f64, f64) {
        let pairs = [
            (&self.weights, &other.weights),
            (&self.coefficients, &other.coefficients),
            (&self.images, &other.images),
        ];
        let products = pairs.iter().flat_map(|(a, b)| a.iter().zip(b.iter()));
        products.fold((0.0, 0.0), |(sum, size), (a, b)| {
            let product = f64::from(*a) * f64::from(*b);
            (sum + product, size + product * product)
        })
    }
}

const ALL: Wanted = Wanted {
    weights: true,
    coefficients: true,
    input: true,
};

/// What a pass computes at a point along a direction.
fn along<'a>(at: &'a Point, direction: Option<&'a Point>) -> Pass<'a> {
    let tangents = |of: fn(&Point) -> &[f32]| direction.map(of).filter(|t| !t.is_empty());
    Pass {
        weights: &at.weights,
        weight_tangents: tangents(|d| &d.weights),
        coefficients: &at.coefficients,
        coefficient_tangents: tangents(|d| &d.coefficients),
        drop: &[],
        noise: None,
        running: None,
        keep: true,
    }
}

/// The results at a point, with tangents if there is a direction, and the gradient of Σ seed · results, or of
/// Σ seed · their tangents.
fn pass(
    network: &Network,
    size: Size,
    at: &Point,
    direction: Option<&Point>,
    seed: &[f32],
) -> (Vec<f32>, Point) {
    let tangents = direction.and_then(Point::of_images);
    let input = Field::from_planes(&at.images, tangents, 3, size, direction.is_some());
    let (results, saved) = network.graph.forward(input, &along(at, direction));
    let adjoint = match direction {
        Some(_) => [&vec![0.0; seed.len()], seed].concat(),
        None => seed.to_vec(),
    };
    let gradients = network.graph.backward(saved, &adjoint, at.lengths(), ALL);
    (results, Point::from_gradients(gradients))
}

/// The same along a direction, after a pass without it.
fn pass_again(
    network: &Network,
    size: Size,
    at: &Point,
    direction: &Point,
    seed: &[f32],
) -> (Vec<f32>, Point) {
    let graph = &network.graph;
    let input = Field::from_planes(&at.images, None, 3, size, false);
    let (_, saved) = graph.forward(input, &along(at, None));
    let (_, saved) = graph.backward_keeping(saved, seed, at.lengths(), ALL);
    let (results, saved) =
        graph.forward_again(saved, direction.of_images(), &along(at, Some(direction)));
    let adjoint = [&vec![0.0; seed.len()], seed].concat();
    let gradients = graph.backward(saved, &adjoint, at.lengths(), ALL);
    (results, Point::from_gradients(gradients))
}

/// Sums of products in f32 agree to this share of their size.
fn close(a: f64, b: f64, size: f64, what: &str) {
    let error = (a - b).abs() / size;
    assert!(error < 2e-4, "{what}: {a} and {b}, error {error:e}");
}

fn over_shapes(mut test: impl FnMut(&Network, Size, &mut ChaCha8Rng, usize)) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    // Under an interpreter, one shape must do.
    let shapes = [(3, 7, 5), (1, 4, 13), (9, 8, 8)];
    let shapes = if cfg!(miri) { &shapes[..1] } else { &shapes };
    for &(images, h, w) in shapes {
        for (channels, stride) in [(6, 1), (16, 1), (10, 2), (16, 2)] {
            let network = Network::new(channels, stride);
            test(&network, Size { h, w }, &mut rng, images * h * w);
        }
    }
}

#[test]
fn tangents_are_the_gradient_along_the_direction() {
    over_shapes(|network, size, rng, pixels| {
        let at = Point::random(network, pixels, rng);
        let direction = Point::random(network, pixels, rng);
        let shapes = network.graph.output_shapes(size);
        let images = pixels / size.area();
        let results: usize = shapes.iter().map(|(c, s)| images * c * s.area()).sum();
        let seed: Vec<f32> = (0..results).map(|_| rng.random_range(-1.0..1.0)).collect();
        let (_, gradient) = pass(network, size, &at, None, &seed);
        let (both, _) = pass(network, size, &at, Some(&direction), &seed);
        let (_, tangent) = both.split_at(results);
        let forward: f64 = tangent
            .iter()
            .zip(&seed)
            .map(|(t, s)| f64::from(*t) * f64::from(*s))
            .sum();
        let (backward, square) = gradient.dot(&direction);
        close(
            forward,
            backward,
            square.sqrt(),
            "⟨seed, tangent⟩ and ⟨gradient, direction⟩",
        );
    });
}

#[test]
fn the_second_derivative_is_symmetric() {
    over_shapes(|network, size, rng, pixels| {
        let [at, u, v] = [0; 3].map(|_| Point::random(network, pixels, rng));
        let shapes = network.graph.output_shapes(size);
        let images = pixels / size.area();
        let results: usize = shapes.iter().map(|(c, s)| images * c * s.area()).sum();
        let seed: Vec<f32> = (0..results).map(|_| rng.random_range(-1.0..1.0)).collect();
        let (_, along_u) = pass(network, size, &at, Some(&u), &seed);
        let (_, along_v) = pass(network, size, &at, Some(&v), &seed);
        let (vhu, size_vhu) = along_u.dot(&v);
        let (uhv, size_uhv) = along_v.dot(&u);
        close(
            vhu,
            uhv,
            size_vhu.max(size_uhv).sqrt(),
            "⟨v, Hu⟩ and ⟨u, Hv⟩",
        );
    });
}

#[test]
fn tangents_after_a_pass_without_them_are_those_of_one_with_both_to_the_bit() {
    over_shapes(|network, size, rng, pixels| {
        let at = Point::random(network, pixels, rng);
        let every = Point::random(network, pixels, rng);
        let images_alone = Point {
            weights: Vec::new(),
            coefficients: Vec::new(),
            ..every.clone()
        };
        let shapes = network.graph.output_shapes(size);
        let images = pixels / size.area();
        let results: usize = shapes.iter().map(|(c, s)| images * c * s.area()).sum();
        let seed: Vec<f32> = (0..results).map(|_| rng.random_range(-1.0..1.0)).collect();
        let weights_alone = Point {
            images: Vec::new(),
            coefficients: Vec::new(),
            ..every.clone()
        };
        for direction in [every, images_alone, weights_alone] {
            let (both, gradient) = pass(network, size, &at, Some(&direction), &seed);
            let (again, of_again) = pass_again(network, size, &at, &direction, &seed);
            assert_eq!(both, again);
            assert_eq!(gradient.weights, of_again.weights);
            assert_eq!(gradient.coefficients, of_again.coefficients);
            assert_eq!(gradient.images, of_again.images);
        }
    });
}
