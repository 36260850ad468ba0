//! Burn's optimisers on flat vectors.
//!
//! A vector is one tensor, so Burn's gradient clipping, which is per tensor, clips by the norm of the whole
//! gradient, as PyTorch's `clip_grad_norm_` does.

use burn::grad_clipping::GradientClipping;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    Adam, AdamConfig, Optimizer, RecordState, Sgd, SgdConfig, StateSink, StateSource,
};
use burn::tensor::Device;
use burn_pack::Scalar;

use crate::network::Vector;
use crate::run::checkpoint::{Checkpoint, CheckpointError};

/// An optimiser and its state.
pub struct Stepper<O: Optimizer> {
    optimiser: O,
    clipping: Option<GradientClipping>,
    state: Option<O::State<1>>,
}

/// How SGD steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdRule {
    /// Momentum.
    pub momentum: f64,
    /// Whether it looks ahead (Nesterov).
    pub nesterov: bool,
    /// Weight decay, in the gradient.
    pub weight_decay: f64,
    /// The largest norm of the gradient, before both; 0 means any.
    pub clip: f64,
}

/// SGD with momentum: what E and W, and the weights of derived networks, step with.
pub fn sgd(rule: &SgdRule) -> Stepper<Sgd> {
    // PyTorch has no dampening; Burn's default is 0.1.
    let momentum = MomentumConfig::new()
        .with_momentum(rule.momentum)
        .with_nesterov(rule.nesterov)
        .with_dampening(0.0);
    let config = SgdConfig::new()
        .with_momentum(Some(momentum))
        .with_weight_decay(Some(WeightDecayConfig::new(rule.weight_decay as f32)));
    Stepper {
        optimiser: config.build(),
        clipping: (rule.clip > 0.0).then_some(GradientClipping::Norm(rule.clip as f32)),
        state: None,
    }
}

/// Adam with β 0.5 and 0.999 and weight decay in the gradient: what A steps with.
pub fn adam(weight_decay: f64) -> Stepper<Adam> {
    // ε as in PyTorch; Burn's default is 1e-5.
    let config = AdamConfig::new()
        .with_beta_1(0.5)
        .with_beta_2(0.999)
        .with_epsilon(1e-8)
        .with_weight_decay(Some(WeightDecayConfig::new(weight_decay as f32)));
    Stepper {
        optimiser: config.build(),
        clipping: None,
        state: None,
    }
}

impl<O: Optimizer> Stepper<O> {
    /// One step from `at` against `gradient`.
    pub fn step(&mut self, learning_rate: f64, at: &Vector, gradient: &Vector) -> Vector {
        let mut gradient = gradient.flat();
        if let Some(clipping) = &self.clipping {
            gradient = clipping.clip_gradient(gradient);
        }
        let (flat, state) =
            self.optimiser
                .step(learning_rate, at.flat(), gradient, self.state.take());
        self.state = state;
        at.with(flat)
    }

    /// Puts the state into a checkpoint under `name`.
    pub fn save(&self, name: &str, checkpoint: &mut Checkpoint) {
        let mut sink = StateSink::default();
        if let Some(state) = &self.state {
            state.state_flatten(name, &mut sink);
        }
        for (key, data) in sink.tensors {
            checkpoint.insert(&key, data);
        }
        for (key, scalar) in sink.scalars {
            checkpoint.insert_scalar(&key, scalar);
        }
    }

    /// Takes the state out of a checkpoint: that for vectors as `at`, after at most `steps` steps.
    ///
    /// # Errors
    /// If the checkpoint has a state that is not this optimiser's, or not for such vectors.
    pub fn load(
        &mut self,
        name: &str,
        checkpoint: &Checkpoint,
        (at, steps): (&Vector, u64),
        device: &Device,
    ) -> Result<(), CheckpointError> {
        let scalars = checkpoint.scalars();
        // Optimisers count their steps, and keep no other numbers.
        for (key, scalar) in &scalars {
            let counts = matches!(scalar, Scalar::UInt(n) if *n <= steps);
            if key.starts_with(&format!("{name}.")) && !counts {
                let reason = format!("{key} is no count of {steps} steps or fewer ({scalar:?})");
                return Err(checkpoint.unusable(reason));
            }
        }
        let mut source = StateSource::new(scalars);
        for (key, data) in checkpoint.tensors_under(name) {
            if data.shape().as_slice() != [at.layout().len()] {
                return Err(checkpoint.unusable(format!(
                    "{key} has shape {:?} where {:?} is needed",
                    data.shape().as_slice(),
                    [at.layout().len()]
                )));
            }
            source.insert_tensor(key, data);
        }
        self.state = if source.has_under(name) {
            let state = O::State::<1>::state_unflatten(name, &mut source, device);
            Some(state.ok_or_else(|| checkpoint.lacks(name))?)
        } else {
            None
        };
        Ok(())
    }
}

/// The cosine schedule of DARTS: from `initial` at epoch 0 towards `last` at epoch `epochs`, constant within
/// an epoch (PyTorch's `CosineAnnealingLR`).
pub fn cosine(initial: f64, last: f64, epoch: usize, epochs: usize) -> f64 {
    let phase = std::f64::consts::PI * epoch as f64 / epochs as f64;
    last + 0.5 * (initial - last) * (1.0 + phase.cos())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::DType;

    use super::*;
    use crate::network::{Init, Layout};
    use crate::run::Identity;

    fn ones(numbers: usize) -> Vector {
        let mut layout = Layout::default();
        layout.push("w", [numbers], Init::Ones);
        let values = vec![1.0; numbers];
        Vector::from_values(Arc::new(layout), values, &Device::flex(), DType::F32)
    }

    #[test]
    fn states_of_other_vectors_or_of_more_steps_are_refused() {
        let mut checkpoint = Checkpoint::new("search", &Identity::default(), Default::default());
        let (mut one, mut other) = (adam(0.0), adam(0.0));
        let at = one.step(0.1, &ones(2), &ones(2));
        one.save("o", &mut checkpoint);
        let device = Device::flex();
        let mut refused = |at: &Vector, steps| {
            let loaded = other.load("o", &checkpoint, (at, steps), &device);
            loaded.unwrap_err().to_string()
        };
        let longer = refused(&ones(3), 1);
        assert!(
            longer.contains("has shape [2] where [3] is needed"),
            "{longer}"
        );
        let early = refused(&at, 0);
        assert!(early.contains("no count of 0 steps or fewer"), "{early}");
        other.load("o", &checkpoint, (&at, 1), &device).unwrap();
        let (ours, theirs) = (one.step(0.1, &at, &ones(2)), other.step(0.1, &at, &ones(2)));
        assert_eq!(ours.to_f64(), theirs.to_f64());
    }
}
