//! An annotation of Pascal VOC: the boxes of one image.
//!
//! ```text
//! <annotation> <object> <name>dog</name> <truncated>0</truncated> <difficult>0</difficult>
//!   <bndbox> <xmin>48</xmin> <ymin>240</ymin> <xmax>195</xmax> <ymax>371</ymax> </bndbox> </object> </annotation>
//! ```
//!
//! Pixels are counted from 1 and the last one belongs to the box, so a box that covers an image of width W has xmin 1 and
//! xmax W, which is 0 and W here: one is taken from the lower ends alone (LOST `datasets.py`). A few boxes of the
//! devkit have fractions of a pixel; they are cut off. Boxes of the `part`s of an object (a head, a hand) are no objects.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::source::{BoxPx, Manifest, Object, Raw, ReadError, Source, Truth, sizes_digest};

/// Largest annotation that is read.
pub const MAX_BYTES: usize = 4 << 20;
/// Largest coordinate.
const MAX_PX: f64 = 1e6;
/// Elements within one another.
const MAX_DEPTH: usize = 32;

/// Photos of a devkit with the boxes that lie beside them: `JPEGImages/a.jpg` has `Annotations/a.xml`, or none are known.
pub fn with_boxes(root: &Path, photos: Box<dyn Source>) -> Box<dyn Source> {
    Box::new(Annotated { root: root.to_owned(), photos })
}

struct Annotated {
    root: PathBuf,
    photos: Box<dyn Source>,
}

impl Annotated {
    /// `…/JPEGImages/a.jpg` → `…/Annotations/a.xml`
    fn beside(&self, photo: &str) -> PathBuf {
        let name = Path::new(photo).with_extension("xml");
        let folder = name.parent().and_then(Path::parent).unwrap_or(Path::new(""));
        self.root.join(folder).join("Annotations").join(name.file_name().unwrap_or_default())
    }
}

impl Source for Annotated {
    fn manifest(&self) -> &Manifest {
        self.photos.manifest()
    }

    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        self.photos.read(index)
    }

    fn truth(&self, index: usize) -> Result<Option<Truth>, ReadError> {
        let Some(entry) = self.manifest().entries.get(index) else { return Ok(None) };
        let path = self.beside(&entry.name);
        let bytes = match fs::metadata(&path).map(|m| m.len()) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ReadError::Io { path, source }),
            Ok(bytes) if bytes > MAX_BYTES as u64 => {
                return Err(ReadError::Annotation { path, what: format!("{bytes} bytes, above {MAX_BYTES}") });
            }
            Ok(_) => fs::read(&path),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        match objects(&bytes) {
            Ok(boxes) => Ok(Some(Truth { boxes, ..Truth::default() })),
            Err(what) => Err(ReadError::Annotation { path, what }),
        }
    }

    fn annotations(&self) -> String {
        sizes_digest(self.manifest().entries.iter().map(|entry| self.beside(&entry.name)))
    }
}

/// The objects of an annotation, in its order, or what is wrong with it.
pub fn objects(bytes: &[u8]) -> Result<Vec<Object>, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("{} bytes, above {MAX_BYTES}", bytes.len()));
    }
    let mut reader = Reader::from_reader(bytes);
    let mut objects = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let (mut draft, mut text) = (Draft::default(), String::new());
    let mut annotated = false;
    loop {
        match reader.read_event().map_err(|e| e.to_string())? {
            Event::Start(element) => {
                if open.len() == MAX_DEPTH {
                    return Err(format!("more than {MAX_DEPTH} elements within one another"));
                }
                open.push(String::from_utf8_lossy(element.local_name().as_ref()).into_owned());
                annotated |= at(&open, &["annotation"]);
                if at(&open, &["annotation", "object"]) {
                    draft = Draft::default();
                }
                text.clear();
            }
            Event::Text(piece) => text.push_str(&piece.decode().map_err(|e| e.to_string())?),
            Event::CData(piece) => text.push_str(&String::from_utf8_lossy(&piece)),
            Event::End(_) => {
                draft.take(&open, text.trim())?;
                if at(&open, &["annotation", "object"]) {
                    objects.push(std::mem::take(&mut draft).finish(objects.len())?);
                }
                open.pop();
                text.clear();
            }
            Event::Eof if !open.is_empty() => return Err(format!("ends within <{}>", open.join("><"))),
            Event::Eof if !annotated => return Err("no <annotation> in it".to_owned()),
            Event::Eof => return Ok(objects),
            _ => {}
        }
    }
}

fn at(open: &[String], path: &[&str]) -> bool {
    open.len() == path.len() && open.iter().zip(path).all(|(a, b)| a == b)
}

/// An object whose element is still open.
#[derive(Default)]
struct Draft {
    class: Option<String>,
    difficult: bool,
    truncated: bool,
    /// xmin, ymin, xmax, ymax
    corners: [Option<u32>; 4],
}

const CORNERS: [&str; 4] = ["xmin", "ymin", "xmax", "ymax"];

impl Draft {
    /// The text of an element that ends.
    fn take(&mut self, open: &[String], text: &str) -> Result<(), String> {
        for (corner, name) in self.corners.iter_mut().zip(CORNERS) {
            if at(open, &["annotation", "object", "bndbox", name]) {
                let value: f64 = text.parse().map_err(|_| format!("<{name}> is no number"))?;
                if !(0.0..=MAX_PX).contains(&value) {
                    return Err(format!("<{name}> is {value}"));
                }
                *corner = Some(value as u32);
            }
        }
        match open.get(2).filter(|_| at(&open[..open.len().min(2)], &["annotation", "object"]) && open.len() == 3) {
            Some(name) if name == "name" => self.class = Some(text.to_owned()),
            Some(name) if name == "difficult" => self.difficult = text == "1",
            Some(name) if name == "truncated" => self.truncated = text == "1",
            _ => {}
        }
        Ok(())
    }

    /// The object, whose number is only for the message.
    fn finish(self, number: usize) -> Result<Object, String> {
        let [Some(x0), Some(y0), Some(x1), Some(y1)] = self.corners else {
            return Err(format!("object {number} has no whole <bndbox>"));
        };
        let area = BoxPx { x0: x0.saturating_sub(1), y0: y0.saturating_sub(1), x1, y1 };
        if area.x0 >= area.x1 || area.y0 >= area.y1 {
            return Err(format!("the box of object {number} is empty"));
        }
        Ok(Object { class: self.class, area, difficult: self.difficult, truncated: self.truncated, crowd: false })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    const DOG: &str = "<annotation><filename>a.jpg</filename><object><name>dog</name><truncated>1</truncated>\
        <difficult>0</difficult><bndbox><xmax>195.7</xmax><xmin>48</xmin><ymin>1</ymin><ymax>371</ymax></bndbox>\
        <part><name>head</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>7</xmax><ymax>8</ymax></bndbox></part>\
        </object><object><name>cat</name><difficult>1</difficult><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>4</xmax>\
        <ymax>5</ymax></bndbox></object></annotation>";

    /// Breaks when a head is taken for an object or its box for the dog's, when the order of corners matters, when one is
    /// taken from the wrong ends, or when a mark goes to the other object.
    #[test]
    fn boxes_are_the_objects_own_and_begin_at_0() {
        let found = objects(DOG.as_bytes()).unwrap();
        let dog = Object {
            class: Some("dog".into()),
            area: BoxPx { x0: 47, y0: 0, x1: 195, y1: 371 },
            difficult: false,
            truncated: true,
            crowd: false,
        };
        let cat = Object {
            class: Some("cat".into()),
            area: BoxPx { x0: 1, y0: 2, x1: 4, y1: 5 },
            difficult: true,
            truncated: false,
            crowd: false,
        };
        assert_eq!(found, [dog, cat]);
        assert!(objects(b"<annotation></annotation>").unwrap().is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (text, words) in [
            ("", "no <annotation>"),
            ("<html></html>", "no <annotation>"),
            (DOG.split("<truncated>").next().unwrap(), "ends within"),
            (&DOG.replace("<xmin>48</xmin>", ""), "no whole <bndbox>"),
            (&DOG.replace("48", "many"), "no number"),
            (&DOG.replace("48", "-3"), "<xmin> is -3"),
            (&DOG.replace("48", "NaN"), "<xmin> is NaN"),
            (&DOG.replace("48", "200"), "empty"),
            (&"<a>".repeat(100), "within one another"),
        ] {
            let error = objects(text.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(objects(&vec![b' '; MAX_BYTES + 1]).unwrap_err().contains("above"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_boxes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            drop(objects(&bytes));
        }

        #[test]
        fn a_damaged_annotation_has_no_impossible_box(at in 0..DOG.len(), byte in any::<u8>(), cut in 0..DOG.len()) {
            let mut bytes = DOG.as_bytes().to_vec();
            bytes[at] = byte;
            bytes.truncate(cut.max(at));
            for object in objects(&bytes).unwrap_or_default() {
                prop_assert!(object.area.x0 < object.area.x1 && object.area.y0 < object.area.y1);
            }
        }
    }
}
