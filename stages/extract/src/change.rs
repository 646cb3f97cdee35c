//! What is changed while a model runs, if anything, ready for passes.

use std::collections::BTreeMap;

use datasets::{Preprocess, Source};
use engine::{ErrorKind, ShardIo, StageError, TableRef};
use schemas::fenced;
use schemas::tables::RegisterNeurons;
use vit::{Editor, Encoder, Pixels, Request, Site, Trace, VitError};

use crate::edit::{Donor, Edit, Removal, Replace};
use crate::pipeline::device_error;
use crate::prepare::{Skip, prepare};
use crate::test_time::TestTimeRegisters;

/// What a stage's parameters ask for; at most one of the two.
pub(crate) struct Change<'a> {
    /// Tokens overwritten.
    pub edit: Option<&'a Edit>,
    /// Registers appended.
    pub registers: Option<TestTimeRegisters>,
    /// The neurons that move to them.
    pub neurons: Option<&'a TableRef>,
}

/// Passes of a model, changed or as it is.
pub(crate) struct Changed(Option<Box<dyn Editor>>);

impl Change<'_> {
    /// Reads what the change needs: the neurons, or the tokens of another image.
    pub fn open(
        &self,
        source: &dyn Source,
        preprocess: &Preprocess,
        encoder: &dyn Encoder,
        io: &ShardIo<'_>,
    ) -> Result<Changed, StageError> {
        let pixels = |index| prepare(source, index, preprocess).map(|image| image.pixels);
        self.open_with(source.manifest().entries.len(), &pixels, encoder, io)
    }

    /// The same where the donor is the first of `images` that `pixels` can make.
    pub fn open_with(
        &self,
        images: usize,
        pixels: &dyn Fn(usize) -> Result<Pixels, Skip>,
        encoder: &dyn Encoder,
        io: &ShardIo<'_>,
    ) -> Result<Changed, StageError> {
        if let Some(edit) = self.edit {
            let donor = match edit.replace {
                Replace::Donor => donor(edit, images, pixels, encoder)?,
                _ => Donor::default(),
            };
            return Ok(Changed(Some(Box::new(Removal { edit: edit.clone(), donor }))));
        }
        let Some(registers) = self.registers else { return Ok(Changed(None)) };
        let Some(table) = self.neurons else {
            let what = "test-time registers without a table of neurons";
            return Err(StageError::new(ErrorKind::Bug, what, "", "please report this"));
        };
        let neurons = io.read_of::<RegisterNeurons>(table)?;
        if neurons.rank.is_empty() {
            let what = "no image of the search has an outlier, hence no hidden unit is a register neuron";
            let fix = "leave out `test_time_registers` for this model, or lower the cut-off of its outliers";
            return Err(StageError::new(ErrorKind::Missing, what, "table register_neurons", fix));
        }
        Ok(Changed(Some(Box::new(registers.mover(&neurons)))))
    }
}

impl Changed {
    /// Passes of images of one size.
    pub fn encode(&self, encoder: &dyn Encoder, images: &[&Pixels], want: &Request) -> Result<Vec<Trace>, VitError> {
        match &self.0 {
            None => encoder.encode(images, want),
            Some(editor) => encoder.encode_edited(images, want, editor.as_ref()),
        }
    }
}

/// Tokens before each edited block of the first image that can be encoded, in a pass without edits. An image whose tokens
/// there are no numbers lends none: one of them would reach every image.
fn donor(
    edit: &Edit,
    images: usize,
    pixels: &dyn Fn(usize) -> Result<Pixels, Skip>,
    encoder: &dyn Encoder,
) -> Result<Donor, StageError> {
    let input = |block: u16| if block == 0 { Site::WithPosition } else { Site::Block(block - 1) };
    let want = Request { full: edit.blocks.iter().map(|&b| input(b)).collect(), ..Request::default() };
    for index in 0..images {
        // The stream tells why an image cannot be read.
        let Ok(Ok(pixels)) = fenced(|| pixels(index)) else { continue };
        if encoder.layout(pixels.height, pixels.width).is_err() {
            continue;
        }
        let traces = encoder.encode(&[&pixels], &want).map_err(|e| device_error(&e))?;
        let Some(trace) = traces.first() else { continue };
        if !trace.full.values().all(|site| site.data.iter().all(|x| x.is_finite())) {
            continue;
        }
        let skip = trace.layout.prefix();
        let mut patches = BTreeMap::new();
        for &block in &edit.blocks {
            if let Some(site) = trace.full.get(&input(block)) {
                patches.insert(block, site.data[skip * site.shape[1]..].to_vec());
            }
        }
        return Ok(Donor { grid: (trace.layout.grid_h, trace.layout.grid_w), patches });
    }
    let what = "no image can be encoded, so none can lend its tokens";
    Err(StageError::new(ErrorKind::Missing, what, "", "check the dataset, or choose another `replace`"))
}

#[cfg(test)]
mod tests;
