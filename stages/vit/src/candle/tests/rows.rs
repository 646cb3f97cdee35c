//! Attention rows are rows of the attention matrix, in every executor.

use super::*;

/// The executors of this machine: f32 and bf16 by every kernel, candle.
fn executors(config: &VitConfig, params: &Params) -> Vec<(String, Box<dyn Encoder>)> {
    let mut all: Vec<(String, Box<dyn Encoder>)> =
        vec![("candle".to_owned(), Box::new(CandleVit::on(config, params, &Device::Cpu, DType::F32).unwrap()))];
    for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.refusal().is_none()) {
        all.push((format!("f32 {kernel}"), Box::new(CpuVit::f32(config, params, Some(kernel)).unwrap())));
        all.push((format!("bf16 {kernel}"), Box::new(CpuVit::bf16(config, params, Some(kernel)).unwrap())));
    }
    all
}

/// Asks for rows of `queries` and for the whole matrix, of every block.
fn assert_rows(config: &VitConfig, (height, width): (usize, usize), queries: &[usize]) {
    let params = random_params(config);
    let images = [image("a", height, width), image("b", height, width)];
    let images: Vec<&Pixels> = images.iter().collect();
    let blocks = 0..config.depth as u16;
    let rows = Request {
        full: blocks.clone().map(Site::AttentionRows).collect(),
        queries: queries.to_vec(),
        ..Request::default()
    };
    let both = Request { full: rows.full.iter().copied().chain(blocks.map(Site::Attention)).collect(), ..rows.clone() };
    for (name, vit) in executors(config, &params) {
        let (alone, whole) = (vit.encode(&images, &rows).unwrap(), vit.encode(&images, &both).unwrap());
        for (alone, whole) in alone.iter().zip(&whole) {
            let tokens = whole.layout.tokens();
            for i in 0..config.depth as u16 {
                let (found, matrix) = (&alone.full[&Site::AttentionRows(i)], &whole.full[&Site::Attention(i)]);
                assert_eq!(found.shape, [config.heads, queries.len(), tokens], "{name}");
                assert_eq!(found, &whole.full[&Site::AttentionRows(i)], "{name}: what else is asked for changed rows");
                for head in 0..config.heads {
                    for (q, &token) in queries.iter().enumerate() {
                        let (row, want) = (found.row(head * queries.len() + q), matrix.row(head * tokens + token));
                        let what = format!("{name}: token {token} of head {head} of block {i} of {config:?}");
                        // One softmax row: candle multiplies it in another product, so its sums may round otherwise.
                        assert_close(&what, row, want, 1e-5);
                        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4, "{what} is no softmax");
                        assert!(name == "candle" || row == want, "{what}: other bits than the matrix");
                    }
                }
            }
        }
    }
}

/// Breaks when a row is of another token or head, or rows come back in another order than asked for: registers before
/// patches, tokens named backwards and twice, grids that are no whole number of tiles.
#[test]
fn rows_are_those_of_the_matrix_in_the_order_of_the_request() {
    let config = VitConfig { registers: 3, layer_scale: true, ..base() };
    assert_rows(&config, (12, 36), &[30, 0, 3, 17, 0, 4]);
    assert_rows(&VitConfig { heads: 1, width: 40, ..base() }, (20, 28), &[35]);
    assert_rows(&VitConfig { depth: 1, ..base() }, (4, 4), &[1, 0]);
}

/// Breaks when only the first block of query rows is looked at, or a row of the ragged last one is lost: 1,041 tokens
/// take several blocks in every executor, the last with fewer rows.
#[test]
fn rows_are_found_in_every_block_of_a_long_sequence() {
    let config = VitConfig { depth: 1, registers: 16, ..base() };
    assert_rows(&config, (128, 128), &[0, 251, 252, 31, 32, 1023, 1024, 1040]);
}

/// Breaks when the row of CLS has two meanings.
#[test]
fn the_row_of_cls_is_cls_attention() {
    let config = base();
    let params = random_params(&config);
    let want = Request {
        full: [Site::AttentionRows(2), Site::ClsAttention(2)].into(),
        queries: vec![0],
        ..Request::default()
    };
    for (name, vit) in executors(&config, &params) {
        let trace = vit.encode(&[&image("c", 20, 20)], &want).unwrap().remove(0);
        assert_close(&name, &trace.full[&Site::AttentionRows(2)].data, &trace.full[&Site::ClsAttention(2)].data, 1e-6);
    }
}
