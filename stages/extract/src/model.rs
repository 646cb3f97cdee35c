//! A model that a study uses: its name, what decides its numbers, and its encoder, opened when first needed.

use std::sync::{Arc, Mutex, PoisonError};

use engine::{ErrorKind, StageError};
use vit::executor::Precision;
use vit::{Encoder, VitConfig, VitError};

type Open = Arc<dyn Fn() -> Result<Box<dyn Encoder>, VitError> + Send + Sync>;

/// A place for one open encoder. Models that share it push each other out, so that a study of many models holds the
/// weights of one; steps of one model that follow each other read them once.
#[derive(Clone, Default)]
pub struct EncoderSlot(Arc<Mutex<Option<Opened>>>);

/// Which model it is of, and the encoder.
type Opened = (Open, Arc<dyn Encoder>);

/// One set of weights under a name.
pub struct Model {
    /// Name in tables and captions.
    pub name: String,
    /// Sizes and switches.
    pub config: VitConfig,
    /// SHA-256 of the weight file, or of the formula that made the weights.
    pub weights_digest: String,
    /// Precision of the forward pass.
    pub precision: Precision,
    open: Open,
    slot: EncoderSlot,
}

impl Model {
    /// A model whose encoder is made by `open` when the first shard needs it.
    pub fn new(
        name: String,
        config: VitConfig,
        weights_digest: String,
        precision: Precision,
        open: impl Fn() -> Result<Box<dyn Encoder>, VitError> + Send + Sync + 'static,
    ) -> Self {
        Self { name, config, weights_digest, precision, open: Arc::new(open), slot: EncoderSlot::default() }
    }

    /// The same with its encoder in a place that other models use too.
    #[must_use]
    pub fn in_slot(self, slot: &EncoderSlot) -> Self {
        Self { slot: slot.clone(), ..self }
    }

    /// The encoder; reads the weights unless this model was the last to be opened in its slot.
    pub fn encoder(&self) -> Result<Arc<dyn Encoder>, StageError> {
        let mut slot = self.slot.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((open, encoder)) = &*slot
            && Arc::ptr_eq(open, &self.open)
        {
            return Ok(Arc::clone(encoder));
        }
        // Before the next is opened, or both would be in memory for a moment.
        *slot = None;
        let encoder: Arc<dyn Encoder> = (self.open)().map(Arc::from).map_err(|e| missing(&self.name, &e))?;
        *slot = Some((Arc::clone(&self.open), Arc::clone(&encoder)));
        Ok(encoder)
    }
}

fn missing(model: &str, e: &VitError) -> StageError {
    StageError::new(
        ErrorKind::Missing,
        e,
        format!("model `{model}`"),
        "check `weights` of this model in the study; `vitals models check` tests one file",
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Weak;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use vit::executor::{DeviceChoice, open};
    use vit::planted::{Dials, planted};

    use super::*;

    /// A model that counts how often it is opened and tells whether its last encoder is still in memory.
    fn counted(name: &str) -> (Model, Arc<AtomicUsize>) {
        let (config, params) = planted(&Dials::default(), 0, None).unwrap();
        let opened = Arc::new(AtomicUsize::new(0));
        let (count, of) = (Arc::clone(&opened), config.clone());
        let model = Model::new(name.to_owned(), config, String::new(), Precision::F32, move || {
            count.fetch_add(1, Ordering::Relaxed);
            open(&of, &params, &DeviceChoice::Cpu(None), Precision::F32)
        });
        (model, opened)
    }

    #[test]
    fn one_slot_holds_the_weights_of_the_model_that_was_asked_for_last() {
        let slot = EncoderSlot::default();
        let ((a, opened_a), (b, opened_b)) = (counted("a"), counted("b"));
        let (a, b) = (a.in_slot(&slot), b.in_slot(&slot));
        let alive = |w: &Weak<dyn Encoder>| w.upgrade().is_some();
        let first = Arc::downgrade(&a.encoder().unwrap());
        // Every step of one model shares its encoder.
        assert!(Arc::ptr_eq(&first.upgrade().unwrap(), &a.encoder().unwrap()) && alive(&first));
        let second = Arc::downgrade(&b.encoder().unwrap());
        assert!(!alive(&first) && alive(&second), "two models in memory");
        a.encoder().unwrap();
        assert!(!alive(&second));
        assert_eq!((opened_a.load(Ordering::Relaxed), opened_b.load(Ordering::Relaxed)), (2, 1));
    }

    #[test]
    fn a_model_that_cannot_be_opened_still_makes_room() {
        let slot = EncoderSlot::default();
        let a = counted("a").0.in_slot(&slot);
        let held = Arc::downgrade(&a.encoder().unwrap());
        let broken = Model::new("b".into(), a.config.clone(), String::new(), Precision::F32, || {
            Err(VitError::UnknownSite(String::new()))
        });
        assert!(broken.in_slot(&slot).encoder().is_err() && held.upgrade().is_none());
    }
}
