//! Several devices as one encoder: each call takes a free one, so as many calls run at once as there are devices.
//!
//! All hold the same weights. Which device encodes a batch cannot change which images are in it: batches are cut by the
//! caller.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::config::VitConfig;
use crate::editor::Editor;
use crate::error::VitError;
use crate::final_norm::FinalNorm;
use crate::trace::{Encoder, Layout, Pixels, Request, Trace};

/// Encoders of one model on several devices.
pub struct Fleet {
    encoders: Vec<Box<dyn Encoder>>,
    idle: Mutex<Vec<usize>>,
    returned: Condvar,
}

impl Fleet {
    /// From one or more encoders of the same model.
    pub fn new(encoders: Vec<Box<dyn Encoder>>) -> Result<Self, VitError> {
        if encoders.is_empty() {
            return Err(VitError::Device {
                device: String::new(),
                problem: "no device is named; use cpu or cuda:N".to_owned(),
            });
        }
        let idle = Mutex::new((0..encoders.len()).rev().collect());
        Ok(Self { encoders, idle, returned: Condvar::new() })
    }

    fn take(&self) -> Taken<'_> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(i) = idle.pop() {
                return Taken { fleet: self, i };
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// An encoder in use. It goes back even from a call that panics, or the others would wait for it for ever.
struct Taken<'a> {
    fleet: &'a Fleet,
    i: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.fleet.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.i);
        self.fleet.returned.notify_one();
    }
}

impl Encoder for Fleet {
    fn config(&self) -> &VitConfig {
        self.encoders[0].config()
    }

    fn layout(&self, height: usize, width: usize) -> Result<Layout, VitError> {
        self.encoders[0].layout(height, width)
    }

    fn encode(&self, images: &[&Pixels], want: &Request) -> Result<Vec<Trace>, VitError> {
        let taken = self.take();
        self.encoders[taken.i].encode(images, want)
    }

    fn encode_edited(&self, images: &[&Pixels], want: &Request, editor: &dyn Editor) -> Result<Vec<Trace>, VitError> {
        let taken = self.take();
        self.encoders[taken.i].encode_edited(images, want, editor)
    }

    fn final_norm(&self) -> &FinalNorm {
        self.encoders[0].final_norm()
    }

    fn batch(&self) -> usize {
        self.encoders[0].batch()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::planted::{Dials, IMAGE_PX, planted};
    use crate::site::Site;

    #[test]
    fn two_members_serve_many_threads_with_the_traces_of_one() {
        let (config, params) = planted(&Dials::default(), 0, None).unwrap();
        let member = || -> Box<dyn Encoder> { Box::new(crate::cpu::CpuVit::new(&config, &params).unwrap()) };
        let (fleet, one) = (Fleet::new(vec![member(), member()]).unwrap(), member());
        let pixels = |k: usize| Pixels {
            height: IMAGE_PX,
            width: IMAGE_PX,
            data: (0..3 * IMAGE_PX * IMAGE_PX).map(|i| ((i * (k + 3)) % 17) as f32 / 17.0 - 0.5).collect(),
        };
        let want = Request { norms: [Site::Final].into(), ..Request::default() };
        std::thread::scope(|scope| {
            for k in 0..6 {
                let (fleet, one, want) = (&fleet, &one, &want);
                scope.spawn(move || {
                    let image = pixels(k);
                    assert_eq!(fleet.encode(&[&image], want).unwrap(), one.encode(&[&image], want).unwrap());
                });
            }
        });
        assert_eq!(fleet.idle.lock().unwrap().len(), 2);
        assert!(Fleet::new(Vec::new()).is_err());
    }

    /// Leaves every block out.
    struct Shorter;

    impl Editor for Shorter {
        fn before(&self, _: u16) -> Option<crate::Before> {
            Some(crate::Before::default())
        }
        fn edit(&self, _: u16, _: Layout, _: &mut [f32], _: Option<&[f32]>) -> crate::Then {
            crate::Then::Skip
        }
    }

    /// Breaks when a fleet drops the editor, or refuses what its members can do.
    #[test]
    fn an_editor_reaches_the_member_that_encodes() {
        let (config, params) = planted(&Dials::default(), 0, None).unwrap();
        let member = || crate::cpu::CpuVit::new(&config, &params).unwrap();
        let fleet = Fleet::new(vec![Box::new(member()), Box::new(member())]).unwrap();
        let image = Pixels { height: IMAGE_PX, width: IMAGE_PX, data: vec![0.25; 3 * IMAGE_PX * IMAGE_PX] };
        let want = Request { norms: [Site::Block(7)].into(), ..Request::default() };
        let found = fleet.encode_edited(&[&image], &want, &Shorter).unwrap();
        assert_eq!(found, member().encode_edited(&[&image], &want, &Shorter).unwrap());
        assert_ne!(found, fleet.encode(&[&image], &want).unwrap());
        assert_eq!(fleet.idle.lock().unwrap().len(), 2);
    }

    /// Panics at every image without width.
    struct Fragile(crate::cpu::CpuVit);

    impl Encoder for Fragile {
        fn config(&self) -> &VitConfig {
            self.0.config()
        }
        fn layout(&self, height: usize, width: usize) -> Result<Layout, VitError> {
            self.0.layout(height, width)
        }
        fn encode(&self, images: &[&Pixels], want: &Request) -> Result<Vec<Trace>, VitError> {
            assert!(images.iter().all(|image| image.width > 0), "no width");
            self.0.encode(images, want)
        }
        fn final_norm(&self) -> &FinalNorm {
            self.0.final_norm()
        }
    }

    /// Breaks when a call that panics keeps its device: with none left, the next call would wait for ever.
    #[test]
    fn a_device_comes_back_from_a_call_that_panics() {
        let (config, params) = planted(&Dials::default(), 0, None).unwrap();
        let member = || -> Box<dyn Encoder> { Box::new(Fragile(crate::cpu::CpuVit::new(&config, &params).unwrap())) };
        let fleet = Fleet::new(vec![member(), member()]).unwrap();
        let empty = Pixels { height: 1, width: 0, data: Vec::new() };
        for _ in 0..3 {
            std::thread::scope(|scope| {
                assert!(scope.spawn(|| fleet.encode(&[&empty], &Request::default())).join().is_err());
            });
            assert_eq!(fleet.idle.lock().unwrap().len(), 2);
        }
        assert!(fleet.encode(&[], &Request::default()).unwrap().is_empty());
    }
}
