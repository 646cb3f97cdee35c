//! Pickle bytes as a tree of plain values; nothing is imported, called or constructed.
//!
//! A pickle is a program for a stack machine. `PyTorch` writes a small part of it (protocols 2 to 5), and that part
//! is read here: numbers, text, tuples, lists, dicts, and the three ways of naming Python objects: a global
//! (`torch FloatStorage`), a global applied to arguments, a reference to a storage outside the pickle. A global that
//! is not on the list of [`Global`] is an error that names it.
//!
//! Values live in an arena and refer to each other by index, so that shared values cost nothing and a value can contain
//! itself without harm: one instruction makes at most one value, and no length in the bytes is believed before that
//! many bytes are there.
//!
//! Source: python/cpython `Lib/pickletools.py`, pytorch/pytorch `torch/_weights_only_unpickler.py`. candle's reader
//! panics on short argument lists, allocates what a length field says and copies a value at every reference.

use std::collections::HashMap;

/// Index of a value in [`Pickle`].
pub(super) type Id = usize;

/// A Python object that the bytes may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// Applied, it is an empty dict.
    Dict,
    /// `torch._utils._rebuild_tensor_v2`
    TensorV2,
    /// `torch._utils._rebuild_parameter`
    Parameter,
    /// `torch.FloatStorage`
    F32,
    /// `torch.HalfStorage`
    F16,
    /// `torch.BFloat16Storage`
    Bf16,
    /// `torch.DoubleStorage`
    F64,
    /// Storage of integers, booleans or other small types.
    OtherStorage,
    /// Data beside the weights (arguments, sizes, numpy scalars); applied, it is a value of no meaning.
    Inert,
}

impl Global {
    fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict" | "defaultdict" | "Counter") => Global::Dict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::TensorV2,
            ("torch._utils", "_rebuild_parameter") => Global::Parameter,
            ("torch", "FloatStorage") => Global::F32,
            ("torch", "HalfStorage") => Global::F16,
            ("torch", "BFloat16Storage") => Global::Bf16,
            ("torch", "DoubleStorage") => Global::F64,
            ("torch", name) if name.ends_with("Storage") => Global::OtherStorage,
            ("torch", "Size" | "device" | "float32" | "float16" | "bfloat16" | "float64" | "int64")
            | ("argparse", "Namespace")
            | ("numpy", "dtype" | "ndarray")
            | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct")
            | ("_codecs", "encode")
            | ("pathlib" | "pathlib._local", "PosixPath" | "WindowsPath" | "PurePosixPath")
            | ("builtins" | "__builtin__", "set" | "int" | "float" | "str" | "bool" | "list" | "dict" | "slice") => {
                Global::Inert
            }
            _ => return None,
        })
    }
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// None, floats, bytes, sets, and whatever an inert global makes.
    Opaque,
    Bool(bool),
    Int(i64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// A global applied to a tuple of arguments.
    Applied(Global, Id),
    /// A reference to something outside the pickle.
    Persistent(Id),
}

/// The values of a pickle and which of them is the result.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    pub(super) root: Id,
}

impl Pickle {
    pub(super) fn value(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::Opaque)
    }
}

/// Reads a whole pickle. The error is a fragment that says what is wrong.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle, String> {
    let mut machine = Machine { bytes, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        let op = machine.take(1)?[0];
        if op == b'.' {
            let root = machine.pop()?;
            return Ok(Pickle { values: machine.values, root });
        }
        machine.step(op)?;
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    fn step(&mut self, op: u8) -> Result<(), String> {
        match op {
            0x80 => self.take(1).map(drop), // PROTO
            0x95 => self.take(8).map(drop), // FRAME
            b'N' | b')' | b']' | b'}' | 0x8f | 0x88 | 0x89 => {
                self.push(match op {
                    b')' => Value::Tuple(Vec::new()),
                    b']' => Value::List(Vec::new()),
                    b'}' => Value::Dict(Vec::new()),
                    0x88 => Value::Bool(true),
                    0x89 => Value::Bool(false),
                    _ => Value::Opaque, // NONE, EMPTY_SET
                });
                Ok(())
            }
            b'K' | b'M' | b'J' | 0x8a | 0x8b | b'G' => self.number(op),
            0x8c | b'X' | 0x8d | b'U' | b'T' | b'C' | b'B' | 0x8e | 0x96 => self.text(op),
            b'c' | 0x93 => self.global(op),
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memo(op),
            0x85..=0x87 | b't' | b'l' | b'd' => self.collect(op),
            b'a' | b'e' | b's' | b'u' | 0x90 => self.add(op),
            b'R' | 0x81 | b'b' => self.apply(op),
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id));
                Ok(())
            }
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.pop_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            _ => Err(format!("pickle instruction 0x{op:02x} is not one that PyTorch writes for weights")),
        }
    }

    fn number(&mut self, op: u8) -> Result<(), String> {
        let value = match op {
            b'K' => Value::Int(i64::from(self.take(1)?[0])),
            b'M' => Value::Int(self.length(2)? as i64),
            b'J' => Value::Int(i64::from(self.length(4)? as u32 as i32)),
            b'G' => {
                self.take(8)?;
                Value::Opaque
            }
            _ => {
                let length = self.length(if op == 0x8a { 1 } else { 4 })?;
                let digits = self.take(length)?;
                match digits {
                    [] => Value::Int(0),
                    digits if digits.len() <= 8 => {
                        let negative = digits[digits.len() - 1] >= 0x80;
                        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
                        wide[..digits.len()].copy_from_slice(digits);
                        Value::Int(i64::from_le_bytes(wide))
                    }
                    _ => Value::Opaque,
                }
            }
        };
        self.push(value);
        Ok(())
    }

    fn text(&mut self, op: u8) -> Result<(), String> {
        let length = self.length(match op {
            0x8c | b'U' | b'C' => 1,
            b'X' | b'T' | b'B' => 4,
            _ => 8,
        })?;
        let bytes = self.take(length)?;
        let value = match op {
            0x8c | b'X' | 0x8d | b'U' | b'T' => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
            _ => Value::Opaque,
        };
        self.push(value);
        Ok(())
    }

    fn global(&mut self, op: u8) -> Result<(), String> {
        let (module, name) = if op == b'c' {
            (self.line()?, self.line()?)
        } else {
            let name = self.pop_text()?;
            (self.pop_text()?, name)
        };
        let global = Global::named(&module, &name).ok_or_else(|| {
            format!(
                "the pickle names the Python object `{}.{}`, which is no part of a state dict and is not run; load the \
                 file where it was made and save its state dict as safetensors",
                printable(&module),
                printable(&name)
            )
        })?;
        self.push(Value::Global(global));
        Ok(())
    }

    fn memo(&mut self, op: u8) -> Result<(), String> {
        let key = match op {
            b'q' | b'h' => self.length(1)? as u64,
            b'r' | b'j' => self.length(4)? as u64,
            _ => self.memo.len() as u64,
        };
        if matches!(op, b'h' | b'j') {
            let id = *self.memo.get(&key).ok_or_else(|| format!("pickle refers to memo {key}, which is not set"))?;
            self.stack.push(id);
        } else {
            let top = self.top()?;
            self.memo.insert(key, top);
        }
        Ok(())
    }

    /// Tuples, and lists and dicts from a mark.
    fn collect(&mut self, op: u8) -> Result<(), String> {
        let items = match op {
            0x85..=0x87 => {
                let count = usize::from(op - 0x84);
                let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<Id>, String>>()?;
                items.reverse();
                items
            }
            _ => self.pop_mark()?,
        };
        let value = match op {
            b'l' => Value::List(items),
            b'd' => Value::Dict(pairs(&items)),
            _ => Value::Tuple(items),
        };
        self.push(value);
        Ok(())
    }

    /// Items into the list, dict or set below them.
    fn add(&mut self, op: u8) -> Result<(), String> {
        let items = match op {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_mark()?,
        };
        let target = self.top()?;
        match (self.values.get_mut(target), op) {
            (Some(Value::List(list)), b'a' | b'e') => list.extend(items),
            (Some(Value::Dict(dict)), b's' | b'u') => dict.extend(pairs(&items)),
            (Some(Value::Opaque), _) => {}
            _ => return Err("pickle adds an item to something that is neither list nor dict".to_owned()),
        }
        Ok(())
    }

    /// REDUCE and NEWOBJ apply a global; BUILD sets attributes, which no weight has.
    fn apply(&mut self, op: u8) -> Result<(), String> {
        let args = self.pop()?;
        if op == b'b' {
            return self.top().map(drop);
        }
        let callee = self.pop()?;
        let value = match self.values.get(callee) {
            Some(Value::Global(Global::Dict)) => Value::Dict(Vec::new()),
            Some(Value::Global(Global::Inert)) => Value::Opaque,
            Some(Value::Global(global)) => Value::Applied(*global, args),
            _ => return Err("pickle applies something that is not a global".to_owned()),
        };
        self.push(value);
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.bytes.split_at_checked(count).ok_or("pickle ends in the middle of an instruction")?;
        self.bytes = rest;
        Ok(head)
    }

    /// Little-endian number of `width` bytes.
    fn length(&mut self, width: usize) -> Result<usize, String> {
        Ok(self.take(width)?.iter().rev().fold(0_u64, |n, &byte| (n << 8) | u64::from(byte)) as usize)
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n').ok_or("pickle ends in the middle of a name")?;
        let line = self.take(end + 1)?;
        Ok(String::from_utf8_lossy(&line[..end]).trim_end_matches('\r').to_owned())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "pickle uses an empty stack".to_owned())
    }

    fn pop(&mut self) -> Result<Id, String> {
        if self.marks.last() == Some(&self.stack.len()) {
            return Err("pickle takes a value from below a mark".to_owned());
        }
        self.stack.pop().ok_or_else(|| "pickle uses an empty stack".to_owned())
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("pickle has no open mark")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn pop_text(&mut self) -> Result<String, String> {
        let id = self.pop()?;
        match self.values.get(id) {
            Some(Value::Text(text)) => Ok(text.clone()),
            _ => Err("pickle names a global by something that is not text".to_owned()),
        }
    }
}

/// Keys and values; a last key without a value is dropped.
fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.as_chunks::<2>().0.iter().map(|&[key, value]| (key, value)).collect()
}

/// A name from foreign bytes, fit for one line of a terminal.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}
