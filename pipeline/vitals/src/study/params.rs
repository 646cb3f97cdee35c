//! What an extraction means: from `[extract]`, a model and a dataset's `preprocess` to the stage's parameters.

use extract::{ExtractParams, PoolSite};
use vit::executor::Precision;
use vit::{ModelSpec, Site};

use super::file::{DatasetTable, ExtractTable};
use super::preprocess::preprocess;
use crate::failure::{Code, Failure};

/// The parameters, checked; the two digests say what a study file cannot.
pub fn params(
    table: &ExtractTable,
    spec: &ModelSpec,
    weights: &str,
    dataset: (&DatasetTable, &str),
) -> Result<ExtractParams, Failure> {
    let config = &spec.config;
    let site = |name: &String| site(name, config.depth);
    let params = ExtractParams {
        model: config.clone(),
        weights: weights.to_owned(),
        precision: precision(table)?,
        dataset: dataset.1.to_owned(),
        preprocess: preprocess(&dataset.0.preprocess, spec)?,
        outliers: table.outliers,
        outlier_site: site(&table.outlier_site)?,
        stats_sites: table.stats_sites.iter().map(site).collect::<Result<_, _>>()?,
        vector_sites: table.vector_sites.iter().map(site).collect::<Result<_, _>>()?,
        pooled: table.pooled.iter().map(|name| pool_site(name, config.depth)).collect::<Result<_, _>>()?,
        draws: dataset.0.draws.unwrap_or(table.draws),
        every_patch: dataset.0.every_patch.unwrap_or(table.every_patch),
        seed: table.seed,
        pictures: table.pictures,
        shard_images: table.shard_images.max(1),
        edit: None,
        test_time_registers: None,
        wrapped_neighbours: table.wrapped_neighbours,
    };
    params.check().map_err(|e| Failure::new(Code::Config, e, "[extract]", "correct the site in the study"))?;
    Ok(params)
}

/// Precision of the forward pass.
pub fn precision(table: &ExtractTable) -> Result<Precision, Failure> {
    precision_called(&table.precision, Code::Config, "[extract] precision")
}

/// A precision by name.
pub fn precision_called(name: &str, code: Code, at: &str) -> Result<Precision, Failure> {
    let what = format!("unknown precision `{name}`");
    name.parse().map_err(|_: vit::VitError| Failure::new(code, what, at, "write f32, bf16 or f16"))
}

/// A site by name; `last` is the last block.
pub fn site(name: &str, depth: usize) -> Result<Site, Failure> {
    let fail =
        |e: vit::VitError| Failure::new(Code::Config, e, format!("site `{name}`"), "correct the site in the study");
    let site = if name == "last" { Site::Block(depth as u16 - 1) } else { name.parse().map_err(fail)? };
    match site.block() {
        Some(block) if block as usize >= depth => Err(fail(vit::VitError::NoSuchBlock { site, depth })),
        _ => Ok(site),
    }
}

/// A site whose tokens are kept whole; `+norm` after it reads it through the final norm.
pub fn pool_site(name: &str, depth: usize) -> Result<PoolSite, Failure> {
    let (plain, normed) = name.strip_suffix("+norm").map_or((name, false), |plain| (plain, true));
    Ok(PoolSite { site: site(plain, depth)?, normed })
}

/// An outlier policy in words that tell two of them apart.
pub fn policy_in_words(policy: &schemas::outlier::OutlierPolicy) -> String {
    use schemas::outlier::{OutlierPolicy as P, Scope};
    match policy {
        P::Fixed { cutoff } => format!("norm above {cutoff}"),
        P::TopFraction { frac, over: Scope::Image } => format!("top {} % of each image", 100.0 * frac),
        P::TopFraction { frac, over: Scope::All { images } } => {
            format!("top {} % over at most {images} images", 100.0 * frac)
        }
        P::NthLargest { n } => format!("above the {n}th largest of each image"),
        P::Valley { images } => format!("above the valley of the norms of at most {images} images"),
    }
}
