//! Page-aligned memory for [`Line`]s; large blocks ask for huge pages, without which a pass over the weights of a large
//! model misses the TLB on every other tile.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use super::layout::Line;

/// A huge page of x86-64 and of most ARM systems.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Zeroed lines that only grow.
#[derive(Default)]
pub(in crate::cpu) struct Pages {
    map: Option<MmapMut>,
    /// Bytes before the first line.
    start: usize,
    len: usize,
}

impl Pages {
    /// Sets the length. Lines are zero at first; when there is no room, all are again.
    ///
    /// # Panics
    /// When the system has no memory left, as any allocation does.
    pub fn grow(&mut self, len: usize) {
        let bytes = len * size_of::<Line>();
        let room = self.map.as_ref().map_or(0, |map| map.len() - self.start);
        if bytes > room {
            let huge = bytes >= HUGE_PAGE_BYTES;
            // The system aligns to small pages only.
            let spare = if huge { HUGE_PAGE_BYTES } else { 0 };
            let map = MmapMut::map_anon(bytes + spare)
                .unwrap_or_else(|e| panic!("{bytes} bytes of memory for the encoder: {e}"));
            self.start = if huge { map.as_ptr().align_offset(HUGE_PAGE_BYTES) } else { 0 };
            #[cfg(target_os = "linux")]
            if huge {
                // Refused where huge pages are switched off: then it is only slower.
                let _ = map.advise(memmap2::Advice::HugePage);
            }
            self.map = Some(map);
        }
        self.len = len;
    }
}

impl Deref for Pages {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        let bytes = self.len * size_of::<Line>();
        self.map.as_ref().map_or(&[], |map| bytemuck::cast_slice(&map[self.start..][..bytes]))
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [Line] {
        let bytes = self.len * size_of::<Line>();
        let start = self.start;
        self.map.as_mut().map_or(&mut [], |map| bytemuck::cast_slice_mut(&mut map[start..][..bytes]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_blocks_start_at_a_huge_page() {
        let mut pages = Pages::default();
        assert!(pages.is_empty());
        pages.grow(3);
        pages[2][31] = 7;
        pages.grow(2);
        pages.grow(3);
        assert_eq!(pages[2][31], 7, "shrinking keeps what is there");
        pages.grow(HUGE_PAGE_BYTES / 64 + 1);
        assert!(pages.iter().all(|line| *line == [0; 32]));
        assert_eq!(pages.as_ptr().addr() % HUGE_PAGE_BYTES, 0);
    }
}
