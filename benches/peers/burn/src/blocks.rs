//! Llama blocks: attention with rotary positions, SwiGLU, RMSNorm before each.

use burn::nn::{
    Linear, LinearConfig, RmsNorm, RmsNormConfig, RotaryEncoding, RotaryEncodingConfig,
};
use burn::tensor::activation::{silu, softmax};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};

/// Base of the rotary angles.
const THETA: f32 = 500_000.0;
/// What a query must not see scores so much less.
const HIDDEN: f32 = -1e4;

/// A stack of blocks and what it is run over.
#[derive(Clone, Copy)]
pub struct Shape {
    pub blocks: usize,
    pub width: usize,
    pub heads: usize,
    pub ffn: usize,
    pub rows: usize,
    pub positions: usize,
}

impl Shape {
    /// The latent transformer and the local decoder of the shape `s`, both causal.
    pub const ALL: [Self; 2] = [
        Self { blocks: 8, width: 1024, heads: 16, ffn: 2816, rows: 8, positions: 512 },
        Self { blocks: 4, width: 512, heads: 8, ffn: 1408, rows: 8, positions: 2048 },
    ];

    pub fn describe(&self) -> String {
        let Self { blocks, width, heads, ffn, rows, positions } = self;
        format!("{blocks} x {width} [{ffn}] /{heads} over {rows} x {positions}")
    }

    fn head_dim(&self) -> usize {
        self.width / self.heads
    }
}

/// How rotation and attention are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// With Burn's own modules.
    Modules,
    /// Out of plain operations.
    Plain,
}

impl Spelling {
    pub fn name(self) -> &'static str {
        match self {
            Self::Modules => "modules",
            Self::Plain => "plain",
        }
    }
}

pub struct Blocks {
    shape: Shape,
    spelling: Spelling,
    blocks: Vec<Block>,
    rotary: RotaryEncoding,
    /// Cosines and sines [1, 1, positions, head_dim / 2].
    angles: [Tensor<4>; 2],
    /// [1, 1, positions, positions].
    mask: Tensor<4>,
}

struct Block {
    attention_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    ffn_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Blocks {
    pub fn new(device: &Device, shape: Shape, spelling: Spelling) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).with_bias(false).init(device);
        let (width, ffn) = (shape.width, shape.ffn);
        let blocks = (0..shape.blocks).map(|_| Block {
            attention_norm: RmsNormConfig::new(width).init(device),
            q: linear(width, width),
            k: linear(width, width),
            v: linear(width, width),
            o: linear(width, width),
            ffn_norm: RmsNormConfig::new(width).init(device),
            gate: linear(width, ffn),
            up: linear(width, ffn),
            down: linear(ffn, width),
        });
        let rotary = RotaryEncodingConfig::new(shape.positions, shape.head_dim());
        Self {
            shape,
            spelling,
            blocks: blocks.collect(),
            rotary: rotary.with_theta(THETA).init(device),
            angles: angles(&shape, device),
            mask: mask(&shape, device),
        }
    }

    /// [rows, positions, width] to the same.
    pub fn forward(&self, mut x: Tensor<3>) -> Tensor<3> {
        for block in &self.blocks {
            let normed = block.attention_norm.forward(x.clone());
            let heads = |linear: &Linear| self.heads(linear.forward(normed.clone()));
            let (q, k) = (self.rotate(heads(&block.q)), self.rotate(heads(&block.k)));
            let attended = self.attend(q, k, heads(&block.v));
            let Shape { rows, positions, width, .. } = self.shape;
            let attended = attended.swap_dims(1, 2).reshape([rows, positions, width]);
            x = x + block.o.forward(attended);
            let normed = block.ffn_norm.forward(x.clone());
            let gated = silu(block.gate.forward(normed.clone())) * block.up.forward(normed);
            x = x + block.down.forward(gated);
        }
        x
    }

    /// [rows, positions, width] to [rows, heads, positions, head_dim].
    fn heads(&self, x: Tensor<3>) -> Tensor<4> {
        let Shape { rows, positions, heads, .. } = self.shape;
        x.reshape([rows, positions, heads, self.shape.head_dim()]).swap_dims(1, 2)
    }

    fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        if self.spelling == Spelling::Modules {
            return self.rotary.forward(x);
        }
        let half = self.shape.head_dim() / 2;
        let (low, high) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
        let [cos, sin] = self.angles.clone();
        let first = low.clone() * cos.clone() - high.clone() * sin.clone();
        Tensor::cat(vec![first, high * cos + low * sin], 3)
    }

    fn attend(&self, q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
        if self.spelling == Spelling::Modules {
            let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
            return attention(q, k, v, None, None, options);
        }
        let scale = 1.0 / (self.shape.head_dim() as f32).sqrt();
        let scores = q.matmul(k.swap_dims(2, 3)) * scale + self.mask.clone();
        softmax(scores, 3).matmul(v)
    }
}

fn angles(shape: &Shape, device: &Device) -> [Tensor<4>; 2] {
    let half = shape.head_dim() / 2;
    let of = |function: fn(f32) -> f32| {
        let values = (0..shape.positions * half).map(|index| {
            let (position, column) = ((index / half) as f32, (index % half) as f32);
            function(position * THETA.powf(-column / half as f32))
        });
        let values: Vec<f32> = values.collect();
        let flat = Tensor::<1>::from_floats(values.as_slice(), device);
        flat.reshape([1, 1, shape.positions, half])
    };
    [of(f32::cos), of(f32::sin)]
}

fn mask(shape: &Shape, device: &Device) -> Tensor<4> {
    let count = shape.positions;
    let values = (0..count * count).map(|index| {
        let (query, key) = (index / count, index % count);
        if key > query { HIDDEN } else { 0.0 }
    });
    let values: Vec<f32> = values.collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape([1, 1, count, count])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    #[test]
    fn both_spellings_hide_the_future() {
        let device = Device::default();
        let shape = Shape { blocks: 1, width: 32, heads: 2, ffn: 48, rows: 1, positions: 8 };
        for spelling in [Spelling::Modules, Spelling::Plain] {
            let blocks = Blocks::new(&device, shape, spelling);
            let x = random([1, 8, 32], &device);
            let other = x.clone().slice([0..1, 0..7, 0..32]);
            let other = Tensor::cat(vec![other, random([1, 1, 32], &device)], 1);
            let [a, b] = [x, other].map(|x| {
                let y = blocks.forward(x).slice([0..1, 0..7, 0..32]);
                y.into_data().to_vec::<f32>().unwrap()
            });
            let far = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 1e-5, "{}: {far}", spelling.name());
        }
    }
}
