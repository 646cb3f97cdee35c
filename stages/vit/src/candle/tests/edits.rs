//! Editing tokens during a pass: what it does in closed form, and alike in both executors that can.

use std::sync::Mutex;

use super::*;
use crate::editor::{Before, Editor, Then};

type Stream = dyn Fn(u16, Layout, &mut [f32], Option<&[f32]>) -> Then + Send + Sync;
type Hidden = dyn Fn(u16, Layout, &mut [f32]) + Send + Sync;

/// An editor from functions: of the streams before `blocks`, and of the hidden layer of the blocks in `neurons`.
#[derive(Default)]
struct Edits {
    blocks: Vec<u16>,
    stream: Option<Box<Stream>>,
    neurons: Vec<u16>,
    hidden: Option<Box<Hidden>>,
}

impl Edits {
    fn stream(
        blocks: &[u16],
        f: impl Fn(u16, Layout, &mut [f32], Option<&[f32]>) -> Then + Send + Sync + 'static,
    ) -> Self {
        Edits { blocks: blocks.to_vec(), stream: Some(Box::new(f)), ..Edits::default() }
    }

    fn hidden(neurons: &[u16], f: impl Fn(u16, Layout, &mut [f32]) + Send + Sync + 'static) -> Self {
        Edits { neurons: neurons.to_vec(), hidden: Some(Box::new(f)), ..Edits::default() }
    }
}

impl Editor for Edits {
    fn before(&self, block: u16) -> Option<Before> {
        self.blocks.contains(&block).then_some(Before { attention: true })
    }
    fn edit(&self, block: u16, layout: Layout, stream: &mut [f32], attention: Option<&[f32]>) -> Then {
        self.stream.as_ref().unwrap()(block, layout, stream, attention)
    }
    fn wants_hidden(&self, block: u16) -> bool {
        self.neurons.contains(&block)
    }
    fn hidden(&self, block: u16, layout: Layout, hidden: &mut [f32]) {
        self.hidden.as_ref().unwrap()(block, layout, hidden);
    }
}

/// One model for each activation, of three blocks with two registers.
fn models() -> Vec<VitConfig> {
    [(100, Activation::Gelu), (96, Activation::QuickGelu), (56, Activation::SwiGlu)]
        .map(|(hidden, activation)| VitConfig {
            registers: 2,
            layer_scale: true,
            mlp: Mlp { hidden, activation },
            ..base()
        })
        .to_vec()
}

/// f32 by every kernel of this machine, and candle.
fn executors(config: &VitConfig, params: &Params) -> Vec<Box<dyn Encoder>> {
    let mut all: Vec<Box<dyn Encoder>> =
        vec![Box::new(CandleVit::on(config, params, &Device::Cpu, DType::F32).unwrap())];
    for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.refusal().is_none()) {
        all.push(Box::new(CpuVit::f32(config, params, Some(kernel)).unwrap()));
    }
    all
}

fn edited(vit: &dyn Encoder, image: &Pixels, want: &Request, editor: &Edits) -> Trace {
    vit.encode_edited(&[image], want, editor).unwrap().remove(0)
}

/// Breaks when looking changes anything: the attention is computed in buffers of the pass, hidden layers are packed.
#[test]
fn an_editor_that_changes_nothing_changes_no_bit() {
    for config in models() {
        let params = random_params(&config);
        let (want, picture) = (everything(&config), image("n", 12, 20));
        let nothing = || Edits {
            neurons: vec![0, 1, 2],
            hidden: Some(Box::new(|_, _, _| {})),
            ..Edits::stream(&[0, 1, 2], |_, _, _, _| Then::Execute)
        };
        for vit in executors(&config, &params) {
            let plain = vit.encode(&[&picture], &want).unwrap().remove(0);
            assert_eq!(edited(vit.as_ref(), &picture, &want, &nothing()), plain, "{config:?}");
            assert_eq!(edited(vit.as_ref(), &picture, &want, &Edits::default()), plain, "not asked for anything");
        }
    }
}

/// Breaks when a skipped block runs, or its sites are made up.
#[test]
fn skipping_every_block_leaves_the_stream_as_it_entered() {
    let config = models().remove(0);
    let params = random_params(&config);
    let want = everything(&config);
    for vit in executors(&config, &params) {
        let trace =
            edited(vit.as_ref(), &image("s", 20, 12), &want, &Edits::stream(&[0, 1, 2], |_, _, _, _| Then::Skip));
        let entered = &trace.full[&Site::WithPosition];
        for i in 0..3 {
            assert_eq!(trace.full[&Site::Block(i)], *entered);
            assert_eq!(trace.norms[&Site::Block(i)], trace.norms[&Site::WithPosition]);
            assert!(!trace.full.contains_key(&Site::Query(i)) && !trace.full.contains_key(&Site::AttentionRows(i)));
        }
        for token in 0..trace.layout.tokens() {
            let want = vit.final_norm().apply(entered.row(token));
            assert_close("final", trace.full[&Site::Final].row(token), &want, 1e-5);
        }
    }
}

/// `params` without its first `count` blocks.
fn without_first_blocks(config: &VitConfig, params: &Params, count: usize) -> (VitConfig, Params) {
    let rest = VitConfig { depth: config.depth - count, ..config.clone() };
    let mut renamed = Params::default();
    for (name, shape) in expected(&rest) {
        let from = match name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
            Some((i, part)) => format!("blocks.{}.{part}", i.parse::<usize>().unwrap() + count),
            None => name.clone(),
        };
        let values = params.get(&from, &shape).unwrap().to_vec();
        renamed.insert(name, shape, values);
    }
    (rest, renamed)
}

/// A patch is zeroed before block 1; or the output of block 0 is changed by hand and put in front of a model that
/// begins at block 1. Breaks when an edit comes a block early or late, or lands on another token.
#[test]
fn an_edit_is_what_the_rest_of_the_model_reads() {
    for config in models() {
        let params = random_params(&config);
        let (rest, rest_params) = without_first_blocks(&config, &params, 1);
        let (d, patch) = (config.width, 7);
        let (want, picture) = (everything(&config), image("z", 12, 20));
        for (vit, rest) in executors(&config, &params).iter().zip(executors(&rest, &rest_params)) {
            let plain = vit.encode(&[&picture], &want).unwrap().remove(0);
            let zeroed = edited(
                vit.as_ref(),
                &picture,
                &want,
                &Edits::stream(&[1], move |_, layout, stream, _| {
                    let token = layout.prefix() + patch;
                    stream[token * d..(token + 1) * d].fill(0.0);
                    Then::Execute
                }),
            );
            let mut by_hand = plain.full[&Site::Block(0)].data.clone();
            by_hand[(3 + patch) * d..(4 + patch) * d].fill(0.0);
            let replace = Edits::stream(&[0], move |_, _, stream, _| {
                stream.copy_from_slice(&by_hand);
                Then::Execute
            });
            let sites = [Site::Block(0), Site::Block(1), Site::Final];
            let want = Request { full: sites.into(), ..Request::default() };
            let short = edited(rest.as_ref(), &picture, &want, &replace);
            assert_eq!(zeroed.full[&Site::Block(0)], plain.full[&Site::Block(0)], "before the edit");
            assert_eq!(zeroed.full[&Site::Block(1)], short.full[&Site::Block(0)]);
            assert_eq!(zeroed.full[&Site::Block(2)], short.full[&Site::Block(1)]);
            assert_eq!(zeroed.full[&Site::Final], short.full[&Site::Final]);
            assert_ne!(zeroed.full[&Site::Final], plain.full[&Site::Final]);
        }
    }
}

/// Breaks when the attention is of another block or query, of the stream after the edit, or not the mean of heads.
#[test]
fn an_editor_sees_the_attention_that_the_block_would_pay() {
    let config = VitConfig { ln_pre: true, ..models().remove(0) };
    let params = random_params(&config);
    let want = everything(&config);
    for vit in executors(&config, &params) {
        let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
        let into = seen.clone();
        let editor = Edits::stream(&[0, 1, 2], move |i, _, stream, attention| {
            into.lock().unwrap().push(attention.unwrap().to_vec());
            // The next block reads other tokens than it would have; what this one saw came before that.
            if i == 0 {
                for v in stream.iter_mut().step_by(3) {
                    *v *= 0.5;
                }
            }
            Then::Execute
        });
        let picture = image("att", 20, 20);
        let plain = vit.encode(&[&picture], &want).unwrap().remove(0);
        let trace = edited(vit.as_ref(), &picture, &want, &editor);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 3);
        for (i, (row, trace)) in seen.iter().zip([&plain, &trace, &trace]).enumerate() {
            let heads = &trace.full[&Site::ClsAttention(i as u16)];
            let mean: Vec<f32> =
                (0..row.len()).map(|n| (0..config.heads).map(|h| heads.row(h)[n]).sum::<f32>() / 3.0).collect();
            assert_close(&format!("block {i}"), row, &mean, 1e-5);
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
        assert!(trace.full[&Site::ClsAttention(0)] != plain.full[&Site::ClsAttention(0)], "the edit came too late");
    }
}

/// With no hidden unit left, the second branch adds `ls2·b₂` and nothing else; and what was taken away is `ls2·W₂·h` of
/// the hidden layer that the editor was shown, whatever the activation. Breaks when it is shown before the activation
/// or the gate, with another stride, or when what it writes is not read.
#[test]
fn the_hidden_layer_is_what_the_second_projection_reads() {
    for config in models() {
        let params = random_params(&config);
        let (d, h) = (config.width, config.mlp.hidden);
        let fc2 = params.get("blocks.0.mlp.fc2.weight", &[d, h]).unwrap();
        let scale = params.get("blocks.0.ls2", &[d]).unwrap();
        let mut mute = params.clone();
        mute.insert("blocks.0.mlp.fc2.weight", [d, h], vec![0.0; d * h]);
        let want = Request { full: [Site::Block(0)].into(), ..Request::default() };
        let picture = image("h", 12, 20);
        let tolerance = f32_tolerance();
        for (vit, mute) in executors(&config, &params).iter().zip(executors(&config, &mute)) {
            let shown = std::sync::Arc::new(Mutex::new(Vec::new()));
            let into = shown.clone();
            let zero = Edits::hidden(&[0], move |i, layout, hidden| {
                assert_eq!((i, hidden.len() % layout.tokens()), (0, 0));
                *into.lock().unwrap() = hidden.to_vec();
                hidden.fill(0.0);
            });
            let without = edited(vit.as_ref(), &picture, &want, &zero).full.remove(&Site::Block(0)).unwrap();
            let mute = mute.encode(&[&picture], &want).unwrap().remove(0);
            assert_close("muted", &without.data, &mute.full[&Site::Block(0)].data, 1e-6);
            let plain = vit.encode(&[&picture], &want).unwrap().remove(0).full.remove(&Site::Block(0)).unwrap();
            let shown = shown.lock().unwrap();
            assert_eq!(shown.len(), without.shape[0] * h);
            let missing: Vec<f32> = plain.data.iter().zip(&without.data).map(|(a, b)| a - b).collect();
            let product: Vec<f32> = (0..missing.len())
                .map(|at| {
                    let (token, o) = (at / d, at % d);
                    let terms = (0..h).map(|k| f64::from(shown[token * h + k]) * f64::from(fc2[o * h + k]));
                    (terms.sum::<f64>() * f64::from(scale[o])) as f32
                })
                .collect();
            assert_close(&format!("{config:?}"), &missing, &product, 3.0 * tolerance);
        }
    }
}

/// Damps tokens by the attention of CLS, skips a block, moves hidden units between tokens: as removal and test-time
/// registers do.
fn busy() -> Edits {
    Edits {
        neurons: vec![0, 2],
        hidden: Some(Box::new(|i, layout, hidden| {
            let h = hidden.len() / layout.tokens();
            let unit = 5 + usize::from(i);
            for token in layout.prefix()..layout.tokens() {
                hidden[unit] += hidden[token * h + unit];
                hidden[token * h + unit] = 0.0;
            }
        })),
        ..Edits::stream(&[1, 2], |i, layout, stream, attention| {
            let d = stream.len() / layout.tokens();
            for (token, weight) in stream.chunks_exact_mut(d).zip(attention.unwrap()) {
                for v in token {
                    *v *= 1.0 - 4.0 * weight;
                }
            }
            if i == 1 { Then::Skip } else { Then::Execute }
        })
    }
}

/// Breaks when one executor edits elsewhere, earlier, or something else than the other.
#[test]
fn executors_agree_under_an_editor() {
    for config in models() {
        let params = random_params(&config);
        let images = [image("e", 12, 20), image("f", 12, 20)];
        let images: Vec<&Pixels> = images.iter().collect();
        let mut traces = executors(&config, &params)
            .into_iter()
            .map(|vit| vit.encode_edited(&images, &everything(&config), &busy()).unwrap());
        let reference = traces.next().unwrap();
        for traces in traces {
            for (a, b) in traces.iter().zip(&reference) {
                assert_eq!(a.full.keys().collect::<Vec<_>>(), b.full.keys().collect::<Vec<_>>());
                for (site, data) in &a.full {
                    let what = format!("{site} of {config:?}");
                    assert_close(&what, &data.data, &b.full[site].data, 2.0 * f32_tolerance());
                }
            }
        }
        let plain = CpuVit::new(&config, &params).unwrap().encode(&images, &everything(&config)).unwrap();
        assert_ne!(plain[0].full[&Site::Final], reference[0].full[&Site::Final]);
    }
}

/// Breaks when an edit of one image reaches the next of the call, or a plain pass after it.
#[test]
fn images_of_a_call_are_edited_each_on_its_own() {
    let config = models().remove(2);
    let params = random_params(&config);
    let want = everything(&config);
    let (a, b) = (image("one", 12, 20), image("two", 12, 20));
    for vit in executors(&config, &params) {
        let plain = vit.encode(&[&b], &want).unwrap();
        let both = vit.encode_edited(&[&a, &b], &want, &busy()).unwrap();
        assert_eq!(both[0], edited(vit.as_ref(), &a, &want, &busy()));
        assert_eq!(both[1], edited(vit.as_ref(), &b, &want, &busy()));
        assert_eq!(vit.encode(&[&b], &want).unwrap(), plain);
    }
}

#[test]
fn bf16_blocks_say_that_they_cannot_be_edited() {
    let config = models().remove(0);
    let params = random_params(&config);
    let vit = CpuVit::bf16(&config, &params, None).unwrap();
    let error = vit.encode_edited(&[&image("r", 12, 20)], &everything(&config), &busy()).unwrap_err().to_string();
    assert!(error.contains("use precision f32"), "{error}");
    let rows = Request { full: [Site::AttentionRows(0)].into(), ..Request::default() };
    let vit = CpuVit::new(&config, &params).unwrap();
    assert!(vit.encode_edited(&[&image("r", 12, 20)], &rows, &busy()).is_err(), "a call is checked as any other");
}
