//! One walk over the views of a shard: decoded, encoded, handed on in order, and what cannot be used is written down.

use datasets::{Source, ViewSpec};
use engine::{Shard, ShardIo, ShardReport, StageError};
use schemas::tables::Skipped;
use vit::{FinalNorm, Request, Trace};

use super::{ViewInput, expected};
use crate::change::Change;
use crate::model::Model;
use crate::params::{PoolSite, Tuning};
use crate::pipeline::flow::{Flow, Prepare, Seen};
use crate::prepare::Skip;
use crate::stage::skipped_row;

/// What a stage of views goes through.
pub(crate) struct Walk<'a> {
    pub model: &'a Model,
    pub source: &'a dyn Source,
    pub views: &'a ViewSpec,
    /// Where tokens are read.
    pub pools: &'a [PoolSite],
    pub prepare: &'a Prepare<'a, ViewInput>,
    pub change: Change<'a>,
    pub tuning: Tuning,
}

impl Walk<'_> {
    /// `rows` makes the rows of a view, on many threads; `write` takes those of an image in order, on this one. Skipped
    /// images go to `skipped`.
    pub(crate) fn run<R: Send>(
        &self,
        shard: &Shard,
        io: &mut ShardIo<'_>,
        rows: impl Fn(Seen<ViewInput, Trace>, &FinalNorm) -> Result<R, Skip> + Sync,
        mut write: impl FnMut(R) -> Result<(), StageError>,
    ) -> Result<ShardReport, StageError> {
        let encoder = self.model.encoder()?;
        let encoder = encoder.as_ref();
        // The first view of an image is what it lends its tokens by.
        let lent = |index| {
            let first = (self.prepare)(index)?.into_iter().next();
            Ok(first.ok_or_else(|| Skip::new("no view", &"it has none to lend"))?.pixels)
        };
        let changed = self.change.open_with(self.source.manifest().entries.len(), &lent, encoder, io)?;
        let want = Request { full: self.pools.iter().map(|pool| pool.site).collect(), ..Request::default() };
        let indices: Vec<usize> = (shard.items.start as usize..shard.items.end as usize).collect();
        let flow = Flow {
            indices: &indices,
            prepare: self.prepare,
            expected: expected(self.views),
            encoder,
            pass: &|_, pixels| changed.encode(encoder, pixels, &want),
            batch: encoder.batch(),
            tuning: self.tuning,
            cancel: io.cancel_flag(),
        };
        let mut skipped = io.create::<Skipped>()?;
        let mut report = ShardReport::default();
        flow.run(
            |seen| rows(seen, encoder.final_norm()),
            |index, result| {
                report.items += 1;
                match result {
                    Ok(views) => views.into_iter().try_for_each(&mut write)?,
                    Err(skip) => {
                        report.skipped += 1;
                        skipped.write(&mut skipped_row(self.source, index, &skip))?;
                    }
                }
                io.items_done(report.items);
                Ok(())
            },
        )?;
        io.finish(skipped)?;
        Ok(report)
    }
}
